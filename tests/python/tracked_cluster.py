"""Stands in for the control plane to which the SDK reports a tracked run.

    python tracked_cluster.py JOURNAL

Prints its port. Writes the path and the body of each request to JOURNAL as a line of JSON, and answers each with an empty
message, but a request for a place to upload to with its own address.
"""

import base64
import gzip
import http.server
import json
import sys

from flyteidl2.dataproxy import dataproxy_service_pb2


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def take(self):
        body = self.read()
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with open(sys.argv[1], "a") as journal:
            journal.write(json.dumps({"path": self.path, "body": base64.b64encode(body).decode()}) + "\n")
        answer = b""
        if self.path.endswith("/CreateUploadLocation"):
            address = f"http://127.0.0.1:{port}/upload"
            place = dataproxy_service_pb2.CreateUploadLocationResponse(signed_url=address, native_url="s3://bucket/place")
            answer = place.SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/proto")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def read(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_POST(self):
        self.take()

    def do_PUT(self):
        self.take()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
port = server.server_address[1]
print(port, flush=True)
server.serve_forever()
