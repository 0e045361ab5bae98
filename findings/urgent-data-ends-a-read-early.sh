#!/usr/bin/env bash
# urgent-data-ends-a-read-early
#
# guess:    A recv() on a TCP stream that returns less than was asked for has
#           emptied the socket, so an edge-triggered reader may go back to
#           epoll_wait. SO_OOBINLINE turns urgent data into ordinary data.
# truth:    recv() stops in front of the urgent mark, however many bytes are
#           queued behind it. The next recv() returns them at once, but
#           edge-triggered epoll reports nothing in between. With SO_OOBINLINE
#           the urgent byte is part of the stream, and the read stops in front
#           of it all the same. AF_UNIX stream sockets with MSG_OOB do the same.
#           epoll reports EPOLLPRI beside EPOLLIN; without MSG_OOB the same
#           bytes come out of one recv().
# version:  Linux 6.18 (seen); AF_UNIX has MSG_OOB since 5.15 (CONFIG_AF_UNIX_OOB)
# source:   epoll(7), last question, and tcp(7) on MSG_OOB and SO_OOBINLINE;
#           Linux net/ipv4/tcp.c tcp_recvmsg_locked(), which leaves its loop at
#           the mark once something was copied; net/unix/af_unix.c
#           unix_stream_read_generic() and manage_oob(); RFC 6093 section 3
# date:     2026-11-29
# matters:  Any peer can send urgent data. A server that takes a short read for
#           "empty" then sleeps on bytes it already has, until the peer sends
#           more or a timer ends the connection; reading until EAGAIN is safe.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat > "$dir/urgent.py" <<'PY'
import fcntl, os, select, socket, struct, sys, time

ASKED = 4096
BEFORE, URGENT, BEHIND = b"a" * 12, b"!", b"z" * 20
TIOCOUTQ = 0x5411                       # bytes the peer's kernel lacks (TCP)
NAMES = ((select.EPOLLIN, "IN"), (select.EPOLLPRI, "PRI"))

def pair(kind):
    if kind == "unix":
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname(), timeout=5)
        return sender, listener.accept()[0]

def wait_until_arrived(sender):
    for _ in range(500):
        left = fcntl.ioctl(sender, TIOCOUTQ, struct.pack("i", 0))
        if struct.unpack("i", left)[0] == 0:
            return
        time.sleep(0.01)
    sys.exit("the bytes did not arrive on loopback within 5 s")

def events(epoll, seconds):
    got = epoll.poll(seconds)
    return "+".join(n for bit, n in NAMES if got and got[0][1] & bit) or "nothing"

def observe(kind, flag, inline):
    sender, reader = pair(kind)
    with sender, reader:
        if inline:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sender.sendall(BEFORE)
        sender.send(URGENT, flag)
        sender.sendall(BEHIND)
        if kind == "tcp":
            wait_until_arrived(sender)
        # From here on nothing is sent: whatever recv returns was there before.
        reader.setblocking(False)
        with select.epoll() as epoll:
            epoll.register(reader, select.EPOLLIN | select.EPOLLPRI | select.EPOLLET)
            first = events(epoll, 2)
            reads, between = [], None
            for _ in range(5):
                try:
                    reads.append(reader.recv(ASKED))
                except BlockingIOError:
                    break
                if between is None:
                    between = events(epoll, 0.1)
    return first, [len(r) for r in reads], between, b"".join(reads)

whole, without = BEFORE + URGENT + BEHIND, BEFORE + BEHIND
n, u, m = len(BEFORE), len(URGENT), len(BEHIND)
expected = []
for kind in ("tcp", "unix"):
    expected += [
        (kind, 0, False, ("IN", [n + u + m], "nothing", whole)),
        (kind, socket.MSG_OOB, False, ("IN+PRI", [n, m], "nothing", without)),
        (kind, socket.MSG_OOB, True, ("IN+PRI", [n, u + m], "nothing", whole)),
    ]

print("kernel", os.uname().release, "python", sys.version.split()[0])
print("sent:", n, "bytes,", u, "byte (urgent or not),", m, "bytes; recv asks for", ASKED)
changed = False
for kind, flag, inline, want in expected:
    got = observe(kind, flag, inline)
    print(f"{kind:4} {'MSG_OOB' if flag else 'no flag'} {'SO_OOBINLINE' if inline else '-':12}"
          f" epoll: {got[0]:7} recv lengths: {got[1]}, then EAGAIN;"
          f" edge after the first recv: {got[2]}")
    if got != want:
        changed = True
        print("  different: expected", want[:3], "got", got[:3],
              "bytes as expected" if got[3] == want[3] else "other bytes")
print("changed" if changed else "unchanged")
sys.exit(changed)
PY

timeout 30 python3 "$dir/urgent.py"
