"""A hub on the loopback that serves small data sets, well or badly."""

import hashlib
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow
from pyarrow import parquet

REVISION = "0123456789abcdef" * 2 + "01234567"


def as_parquet(**columns):
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def as_jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def published():
    """The files of both repositories as the hub has them, with a handful of rows: (repository, name) -> bytes."""
    files = {}
    for name, rows in (("train", 10), ("dev", 5), ("test", 5)):
        files["SetFit/sst5", f"{name}.jsonl"] = as_jsonl(
            {"text": f" {name}\tfilm\n{i} \"so\" ", "label": i % 5, "label_text": "neutral"} for i in range(rows))
    for name, rows in (("train", 300), ("validation", 4)):
        files["nyu-mll/glue", f"qqp/{name}-00000-of-00001.parquet"] = as_parquet(
            question1=[f"How is {name} {i}?" for i in range(rows)],
            question2=[f"\"What\" of {name} {i * i * 7919}?" for i in range(rows)],
            label=[i % 2 for i in range(rows)], idx=list(range(rows)))
        files["nyu-mll/glue", f"stsb/{name}-00000-of-00001.parquet"] = as_parquet(
            sentence1=[f"A man {i} eats." for i in range(4)], sentence2=[f"He {i} eats." for i in range(4)],
            label=pyarrow.array([0.0, 2.533, 3.8, 5.0], pyarrow.float32()))
    return files


class Hub(ThreadingHTTPServer):
    """What the hub has, what it was asked for, and which file it serves badly: `trouble` maps a name to a kind."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.trouble, self.asked, self.ranges, self.tokens = published(), {}, [], [], set()
        self.released = threading.Event()  # stalled answers wait for it
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self):
        """The names of the files whose bytes were asked for."""
        return [name for name in self.asked if name.endswith((".jsonl", ".parquet"))]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        listing = re.fullmatch(rf"/api/datasets/(\w+|[\w-]+/\w+)(/revision/{REVISION})?", path)
        file = re.fullmatch(rf"/datasets/([\w-]+/\w+)/resolve/{REVISION}/(.+)", path)
        name = file[2] if file else path
        self.server.asked.append(name)
        self.server.tokens.add(self.headers.get("Authorization"))
        trouble = self.server.trouble.get(name) or self.server.trouble.get("any")
        if trouble in (404, 429):
            self.answer(trouble, headers={"X-Error-Code": "EntryNotFound"} if trouble == 404 and file else {})
        elif listing:
            names = {name: content for (repository, name), content in self.server.files.items()
                     if repository == listing[1]}
            siblings = [{"rfilename": "README.md", "size": 1, "blobId": "0" * 40}, *map(self.listed, names.items())]
            self.answer(200, json.dumps({"id": listing[1], "sha": REVISION, "siblings": siblings}).encode())
        elif file and (file[1], name) in self.server.files:
            self.send_file(self.server.files[file[1], name], trouble)
        else:
            self.answer(404)

    @staticmethod
    def listed(item):
        """Parquet files by sha256, as LFS files; others by git's hash."""
        name, content = item
        about = {"rfilename": name, "size": len(content),
                 "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
        if name.endswith(".parquet"):
            about["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        return about

    def send_file(self, content, trouble):
        start = int(re.findall(r"\d+", self.headers.get("Range", "bytes=0-"))[0])
        self.server.ranges.append(start)
        body, half = content[start:], len(content) // 2
        if trouble == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if trouble == "truncate":
            body = body[:half]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if trouble in ("stall", "drop"):
            self.wfile.write(body[:half] if not start else b"")
            self.wfile.flush()
            if trouble == "stall":
                self.server.released.wait(10)
            self.close_connection = True
        else:
            self.wfile.write(body)

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **dict(headers)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass
