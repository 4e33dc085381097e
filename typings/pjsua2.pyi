"""What sipagent/pjsip uses of the wheel `pjsua2-python`: all that touches native code."""

from types import ModuleType
from typing import Generic, SupportsInt, TypeVar

T = TypeVar("T")

_pjsua2: ModuleType

PJMEDIA_DIR_DECODING: int
PJMEDIA_FILE_NO_LOOP: int
PJMEDIA_SRTP_DISABLED: int
PJMEDIA_SRTP_MANDATORY: int
PJMEDIA_SRTP_OPTIONAL: int
PJMEDIA_TYPE_AUDIO: int
PJSIP_EVENT_RX_MSG: int
PJSIP_EVENT_TSX_STATE: int
PJSIP_INV_STATE_CONFIRMED: int
PJSIP_INV_STATE_DISCONNECTED: int
PJSIP_REDIRECT_STOP: int
PJSIP_ROLE_UAC: int
PJSIP_ROLE_UAS: int
PJSIP_TRANSPORT_TCP: int
PJSIP_TRANSPORT_UDP: int
PJSIP_TSX_STATE_COMPLETED: int
PJSIP_TSX_STATE_TERMINATED: int
PJSIP_TSX_STATE_TRYING: int
PJSIP_H_CONTENT_TYPE: int
PJSIP_H_PROXY_AUTHENTICATE: int
PJSIP_H_WWW_AUTHENTICATE: int
PJSIP_H_CONTACT: int
PJSIP_H_RECORD_ROUTE: int
PJSIP_H_CSEQ: int
PJSIP_H_TO: int
PJSIP_H_CALL_ID: int
PJSIP_H_FROM: int
PJSIP_H_VIA: int
PJSIP_H_SUPPORTED: int
PJSUA_CALL_MEDIA_ERROR: int
PJSUA_CALL_MEDIA_NONE: int
PJSUA_CALL_MEDIA_REMOTE_HOLD: int
PJSUA_DTMF_METHOD_RFC2833: int
PJSUA_DTMF_METHOD_SIP_INFO: int

class Error(Exception):
    status: int
    title: str
    reason: str
    def info(self, multi_line: bool = False) -> str: ...

class _Vector(Generic[T]):
    """A `std::vector`: it lives in the object that it was read from."""

    this: SupportsInt
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> T: ...
    def append(self, item: T) -> None: ...
    def clear(self) -> None: ...

# --- settings ---

class UaConfig:
    maxCalls: int
    threadCnt: int
    mainThreadOnly: bool
    userAgent: str

class LogConfig:
    level: int
    consoleLevel: int

class MediaConfig:
    clockRate: int
    sndClockRate: int
    audioFramePtime: int
    maxMediaPorts: int
    hasIoqueue: bool
    threadCnt: int
    noVad: bool
    ecTailLen: int

class EpConfig:
    uaConfig: UaConfig
    logConfig: LogConfig
    medConfig: MediaConfig

class TransportConfig:
    port: int
    portRange: int
    publicAddress: str
    boundAddress: str

class TransportInfo:
    localName: str

class AuthCredInfo:
    def __init__(self, scheme: str, realm: str, username: str, data_type: int, data: str) -> None: ...

class AccountSipConfig:
    transportId: int
    proxies: _Vector[str]
    authCreds: _Vector[AuthCredInfo]

class AccountRegConfig:
    registrarUri: str
    registerOnAdd: bool
    timeoutSec: int
    retryIntervalSec: int
    dropCallsOnFail: bool
    headers: _Vector[SipHeader]

class AccountNatConfig:
    iceEnabled: bool
    sipOutboundUse: int
    contactRewriteUse: int
    viaRewriteUse: int
    sdpNatRewriteUse: int

class AccountMwiConfig:
    enabled: bool

class AccountMediaConfig:
    transportConfig: TransportConfig
    srtpUse: int
    srtpSecureSignaling: int
    lockCodecEnabled: bool

class AccountConfig:
    idUri: str
    sipConfig: AccountSipConfig
    regConfig: AccountRegConfig
    natConfig: AccountNatConfig
    mwiConfig: AccountMwiConfig
    mediaConfig: AccountMediaConfig

class _Native:
    """What is in native code: `this` is its address."""

    this: SupportsInt

# --- messages and events ---

class SipHeader:
    hName: str
    hValue: str

class SipTxOption:
    localUri: str
    contentType: str
    msgBody: str
    headers: _Vector[SipHeader]

class SipRxData(_Native):
    wholeMsg: str
    srcAddress: str
    pjRxData: SupportsInt

class SipTransaction:
    role: int
    method: str
    state: int
    statusCode: int
    pjTransaction: SupportsInt

class TsxStateEventSrc:
    rdata: SipRxData

class TsxStateEvent:
    src: TsxStateEventSrc
    tsx: SipTransaction
    type: int

class RxMsgEvent:
    rdata: SipRxData

class SipEventBody:
    tsxState: TsxStateEvent
    rxMsg: RxMsgEvent

class SipEvent:
    type: int
    body: SipEventBody

# --- the library ---

class Version:
    full: str

class CodecInfo:
    codecId: str

class AudDevManager:
    def setNullDev(self) -> None: ...
    def setNoDev(self) -> None: ...

class OnRejectedIncomingCallParam:
    statusCode: int
    rdata: SipRxData

class Endpoint:
    def libCreate(self) -> None: ...
    def libInit(self, config: EpConfig) -> None: ...
    def libStart(self) -> None: ...
    def libDestroy(self, flags: int = 0) -> None: ...
    def libHandleEvents(self, timeout_ms: int) -> int: ...
    def libVersion(self) -> Version: ...
    def transportCreate(self, type: int, config: TransportConfig) -> int: ...
    def transportGetInfo(self, id: int) -> TransportInfo: ...
    def audDevManager(self) -> AudDevManager: ...
    def codecEnum2(self) -> _Vector[CodecInfo]: ...
    def codecSetPriority(self, codec_id: str, priority: int) -> None: ...
    def onRejectedIncomingCall(self, prm: OnRejectedIncomingCallParam) -> None: ...

# --- accounts ---

class AccountInfo:
    regIsActive: bool

class OnIncomingCallParam:
    callId: int
    rdata: SipRxData

class OnRegStateParam:
    code: int
    reason: str
    rdata: SipRxData

class Account:
    def create(self, config: AccountConfig, make_default: bool = False) -> None: ...
    def modify(self, config: AccountConfig) -> None: ...
    def shutdown(self) -> None: ...
    def getInfo(self) -> AccountInfo: ...
    def setRegistration(self, renew: bool) -> None: ...
    def onIncomingCall(self, prm: OnIncomingCallParam) -> None: ...
    def onRegState(self, prm: OnRegStateParam) -> None: ...

# --- sound ---

class AudioMedia:
    def getPortId(self) -> int: ...
    def startTransmit(self, sink: AudioMedia) -> None: ...
    def stopTransmit(self, sink: AudioMedia) -> None: ...

class AudioMediaPlayer(AudioMedia):
    def createPlayer(self, file_name: str, options: int = 0) -> None: ...
    def onEof2(self) -> None: ...

class ToneGenerator(AudioMedia):
    def createToneGenerator(self, clock_rate: int = 16000, channels: int = 1) -> None: ...

# --- calls ---

class CallSetting:
    audioCount: int
    videoCount: int

class CallOpParam:
    opt: CallSetting
    statusCode: int
    txOption: SipTxOption
    def __init__(self, use_default_call_setting: bool = False) -> None: ...

class CallSendRequestParam:
    method: str
    txOption: SipTxOption

class CallMediaInfo:
    index: int
    type: int
    dir: int
    status: int

class CallInfo:
    state: int
    lastStatusCode: int
    media: _Vector[CallMediaInfo]

class MathStat:
    n: int
    mean: int

class RtcpStreamStat:
    bytes: int
    pkt: int
    loss: int
    lossPeriodUsec: MathStat
    jitterUsec: MathStat
    updateCount: int

class RtcpStat:
    rxStat: RtcpStreamStat
    txStat: RtcpStreamStat
    rttUsec: MathStat

class JbufState:
    frameSize: int
    avgDelayMsec: int
    lost: int
    discard: int
    empty: int

class StreamStat:
    rtcp: RtcpStat
    jbuf: JbufState

class CodecParamInfo:
    avgBps: int

class CodecParam:
    info: CodecParamInfo

class StreamInfo:
    type: int
    audCodecParam: CodecParam
    codecName: str
    remoteRtpAddress: str

class MediaTransportInfo:
    localRtpName: str
    srcRtpName: str

class OnCreateMediaTransportParam(_Native):
    mediaIdx: int
    @property
    def mediaTp(self) -> SupportsInt: ...

class OnCallStateParam:
    e: SipEvent

class OnCallTsxStateParam:
    e: SipEvent

class OnCallMediaStateParam: ...

class OnStreamCreatedParam:
    stream: SupportsInt

class OnStreamDestroyedParam:
    streamIdx: int

class SdpSession:
    wholeSdp: str

class OnCallSdpCreatedParam:
    sdp: SdpSession
    remSdp: SdpSession

class OnDtmfDigitParam:
    method: int
    digit: str

class OnCallTransferRequestParam:
    statusCode: int

class OnCallReplaceRequestParam:
    statusCode: int

class OnCallRedirectedParam: ...

class Call(_Native):
    def __init__(self, account: Account, call_id: int = -1) -> None: ...
    def getInfo(self) -> CallInfo: ...
    def hasMedia(self) -> bool: ...
    def getAudioMedia(self, index: int) -> AudioMedia: ...
    def getId(self) -> int: ...
    def getStreamStat(self, index: int) -> StreamStat: ...
    def getStreamInfo(self, index: int) -> StreamInfo: ...
    def getMedTransportInfo(self, index: int) -> MediaTransportInfo: ...
    def makeCall(self, uri: str, param: CallOpParam) -> None: ...
    def answer(self, param: CallOpParam) -> None: ...
    def hangup(self, param: CallOpParam) -> None: ...
    def reinvite(self, param: CallOpParam) -> None: ...
    def sendRequest(self, param: CallSendRequestParam) -> None: ...
    def onCallState(self, prm: OnCallStateParam) -> None: ...
    def onCallTsxState(self, prm: OnCallTsxStateParam) -> None: ...
    def onCallSdpCreated(self, prm: OnCallSdpCreatedParam) -> None: ...
    def onCallMediaState(self, prm: OnCallMediaStateParam) -> None: ...
    def onStreamDestroyed(self, prm: OnStreamDestroyedParam) -> None: ...
    def onCreateMediaTransport(self, prm: OnCreateMediaTransportParam) -> None: ...
    def onDtmfDigit(self, prm: OnDtmfDigitParam) -> None: ...
    def onCallTransferRequest(self, prm: OnCallTransferRequestParam) -> None: ...
    def onCallReplaceRequest(self, prm: OnCallReplaceRequestParam) -> None: ...
    def onCallRedirected(self, prm: OnCallRedirectedParam) -> int: ...
