"""A small DICOMweb service on loopback for tests: STOW-RS and QIDO-RS as PS3.18 10.5 and 10.6 say, with failures that are planted.

`received` holds the bytes of every object that was stored, `heads` the headers of every request, `searched` the path of every QIDO-RS
request with its parameters. `planted` is taken from the front, one
for each STOW-RS request: an HTTP status, (status, Failure Reason), (status, body, media type), or a function of the handler. `hidden`
objects are not found.
"""

from __future__ import annotations

import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmread


class Service:
    """One service; `context` is an `ssl.SSLContext` for HTTPS."""

    def __init__(self, context=None):
        self.received, self.heads, self.planted, self.hidden, self.query_status, self.searched = {}, [], [], set(), 200, []
        service = self

        class Bound(_Handler):
            def __init__(self, *arguments):
                self.service = service
                super().__init__(*arguments)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.server.handle_error = lambda *_: None
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server.server_address[1]}/dicom-web"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", 20

    def log_message(self, *_):
        return

    def do_POST(self):
        self.service.heads.append(dict(self.headers))
        planted = self.service.planted.pop(0) if self.service.planted else 200
        if callable(planted):
            return planted(self)
        ds, data = self._read_part()
        status, *more = (planted,) if isinstance(planted, int) else planted
        if len(more) == 2:
            return self.say(status, *more)
        if status in (200, 202) and not more:
            self.service.received.setdefault(str(ds.SOPInstanceUID), []).append(data)
        if status not in (200, 202, 409):
            return self.say(status, b"<html>SECRET1 could not be stored</html>", "text/html")
        return self.say(status, json.dumps(answer(ds, *more)).encode(), "application/dicom+json; charset=utf-8")

    def _read_part(self):
        body = self._body()
        boundary = re.search('boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
        assert self.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
        assert urlsplit(self.path).path.endswith("/studies")
        _, part, end = re.split(rb"(?:\r\n)?--" + re.escape(boundary), body)
        head, data = part.split(b"\r\n\r\n", 1)
        assert b"Content-Type: application/dicom" in head and end.startswith(b"--")
        return dcmread(io.BytesIO(data), stop_before_pixels=True), data

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_GET(self):
        self.service.heads.append(dict(self.headers))
        self.service.searched.append(self.path)
        if self.service.query_status != 200:
            return self.say(self.service.query_status, b"", "text/plain")
        wanted = parse_qs(urlsplit(self.path).query)
        series = re.search(r"/studies/([0-9.]+)/series/([0-9.]+)/instances", self.path)
        found = []
        for data in self.service.received.values():
            ds = dcmread(io.BytesIO(data[-1]), stop_before_pixels=True)
            is_there = series and (ds.StudyInstanceUID, ds.SeriesInstanceUID) == series.groups()
            if is_there and ds.SOPInstanceUID in wanted["SOPInstanceUID"] and ds.SOPInstanceUID not in self.service.hidden:
                found.append({"00080018": {"vr": "UI", "Value": [str(ds.SOPInstanceUID)]}})
        return self.say(200, json.dumps(found).encode(), "application/dicom+json") if found else self.say(204, b"", "text/plain")

    def say(self, status, body, kind, length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)


def answer(ds, failure=None, warning=None):
    """The data set that answers STOW-RS for one object (PS3.18 table 10.5.3-1), as DICOM JSON."""
    said, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    if failure is None:
        if warning:
            item.WarningReason = warning
        said.ReferencedSOPSequence = [item]
    else:
        item.FailureReason = failure
        said.FailedSOPSequence = [item]
    return said.to_json_dict()
