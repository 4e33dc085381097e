/* Limits of the engine that `make engine` builds; docs/en/larger-engine.md says what sipagent counts of them. */
#define PJSUA_MAX_CALLS            512
#define PJSUA_MAX_PLAYERS          1024
#define PJSUA_MAX_CONF_PORTS       4096 /* 16 for each of 255 calls */
#define PJ_IOQUEUE_MAX_HANDLES     4096
#define FD_SETSIZE                 4096
#define PJ_IOQUEUE_MAX_CAND_EVENTS 256
#define PJ_IOQUEUE_DEFAULT_EPOLL_FLAGS 0 /* one thread polls: two epoll_ctl a packet, not four */
#define PJSIP_MAX_TSX_COUNT        8191
#define PJSIP_MAX_DIALOG_COUNT     2047
#define PJMEDIA_HAS_VIDEO          0
#define PJMEDIA_SRTP_HAS_AES_GCM_256 1 /* RFC 7714, by the OpenSSL that it is built with */
