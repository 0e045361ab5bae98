# A client of drywire serve over TLS, with the system's own OpenSSL: python3 peer.py ADDRESS CERTIFICATE FILE
import socket
import ssl
import sys

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context(cafile=sys.argv[2])
wanted = open(sys.argv[3], "rb").read()


def connect():
    plain = socket.create_connection((host, int(port)), timeout=20)
    return context.wrap_socket(plain, server_hostname="localhost")


# A file, and the protocol's own end.
peer = connect()
peer.sendall(b"GET big\nQUIT\n")
heard = b""
while piece := peer.recv(65536):
    heard += piece
assert heard == b"OK %d\n" % len(wanted) + wanted + b"OK\n", len(heard)
peer.unwrap()

# Byte by byte, and the client's end first, which the transport does not say.
peer = connect()
for byte in b"NOOP\nNOOP\n":
    peer.sendall(bytes([byte]))
heard = b""
while len(heard) < 6:
    heard += peer.recv(100)
assert heard == b"OK\nOK\n", heard
plain = peer.unwrap()
assert plain.recv(1) == b"", "the server ends as well"

# A session that goes on.
peer = connect()
peer.sendall(b"NOOP\n")
assert peer.recv(100) == b"OK\n"
session = peer.session
plain = socket.create_connection((host, int(port)), timeout=20)
again = context.wrap_socket(plain, server_hostname="localhost", session=session)
again.sendall(b"NOOP\n")
assert again.recv(100) == b"OK\n" and again.session_reused
print("same", peer.version())
