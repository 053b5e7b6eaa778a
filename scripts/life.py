"""A small program with a rich memory life: threads, fork, the mmap module, a growing heap."""
import mmap
import os
import tempfile
import threading

# anonymous shared memory, seen by parent and child
shared = mmap.mmap(-1, 1 << 20)
# a file, mapped shared and private
with tempfile.TemporaryFile() as f:
    f.write(b"samara" * 10000)
    f.flush()
    file_shared = mmap.mmap(f.fileno(), 0)
    file_private = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    file_private[:6] = b"SAMARA"

total = []


def work(n):
    blocks = [bytearray(200_000 + 1000 * i) for i in range(n)]
    total.append(sum(len(b) for b in blocks))


threads = [threading.Thread(target=work, args=(20 + 5 * i,)) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()

child = os.fork()
if child == 0:
    shared[:5] = b"child"
    work(10)
    os._exit(0)
os.waitpid(child, 0)
assert shared[:5] == b"child" and file_shared[:6] == b"samara"
print(f"life.py: {sum(total)} bytes came and went in 4 threads; the child wrote to shared memory")
