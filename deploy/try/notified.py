"""Be what systemd is to a service: `notified.py SOCKET` prints each line of sd_notify(3) as it comes."""

import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messages:
        messages.bind(sys.argv[1])
        print("LISTENING=1", flush=True)
        while True:
            print(messages.recv(65536).decode(), flush=True)
