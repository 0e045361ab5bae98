# A client of drywire serve dialog --starttls: python3 starttls.py ADDRESS CERTIFICATE FILE
import socket
import ssl
import sys

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context(cafile=sys.argv[2])
wanted = open(sys.argv[3], "rb").read()


def connect():
    return socket.create_connection((host, int(port)), timeout=20)


def rest(peer):
    heard = b""
    while piece := peer.recv(65536):
        heard += piece
    return heard


# In the open, then not any more.
peer = connect()
peer.sendall(b"NOOP\nSTARTTLS\n")
heard = b""
while len(heard) < 6:
    heard += peer.recv(100)
assert heard == b"OK\nOK\n", heard
peer = context.wrap_socket(peer, server_hostname="localhost")
peer.sendall(b"STARTTLS\nGET big\nQUIT\n")
heard = rest(peer)
assert heard == b"-503 TLS is spoken already\nOK %d\n" % len(wanted) + wanted + b"OK\n", len(heard)
peer.unwrap()

# Without it, as ever.
peer = connect()
peer.sendall(b"GET big\nQUIT\n")
assert rest(peer) == b"OK %d\n" % len(wanted) + wanted + b"OK\n"

# A command behind the request, in one segment.
peer = connect()
peer.sendall(b"STARTTLS\nNOOP\n")
heard = rest(peer)
assert heard == b"-500 protocol error, bytes were sent ahead of the upgrade\n", heard
print("same")
