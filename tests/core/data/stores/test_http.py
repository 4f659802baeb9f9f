"""Stores behind a web server, with ranges of bytes and without."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium.data.stores.column_files import open_columns
from sensorium.data.stores.parquet import ParquetSource
from sensorium.data.stores.webdataset import WebDatasetSource
from sensorium.errors import DataError
from tests.core.data.stores.written import COUNT, rows, write_tar

LARGE = 6 * 2**20
"""Characters of the only value of a file that `fsspec` does not hold whole."""


class Whole(SimpleHTTPRequestHandler):
    """Answers with whole files, whatever is asked for."""

    def log_message(self, *args):
        """Say nothing."""


class Ranges(Whole):
    """Answers a request for a range of bytes with these bytes."""

    def do_GET(self):
        with open(self.translate_path(self.path), "rb") as file:
            data = file.read()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(data) - 1
        if asked is not None:
            first = int(asked[1]) if asked[1] else len(data) - int(asked[2])
            last = min(int(asked[2]), last) if asked[1] and asked[2] else last
        self.send_response(200 if asked is None else 206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # requests that wait at once


@pytest.fixture
def served(tmp_path):
    """Return the address that a handler serves a folder with stores under."""
    pq.write_table(rows(), tmp_path / "small.parquet", row_group_size=8)
    write_tar(tmp_path / "small.tar", rows())
    large = pa.table({"text": ["".join(map(str, range(LARGE // 6)))]})
    pq.write_table(large, tmp_path / "large.parquet", compression="none", use_dictionary=False)
    running = []

    def serve(handler):
        server = Server(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve, tmp_path
    for server in running:
        server.shutdown()
        server.server_close()


SOURCES = {
    "small.parquet": lambda path: ParquetSource(path, columns={"text": "text"}),
    "small.tar": lambda path: WebDatasetSource(path),
}


@pytest.mark.parametrize("name", SOURCES)
def test_records_behind_a_server_with_ranges_are_those_of_the_file(name, served):
    serve, folder = served
    there, here = SOURCES[name](f"{serve(Ranges)}/{name}"), SOURCES[name](str(folder / name))
    asked = [3, 0, 17, COUNT - 1, 3]
    assert len(there) == COUNT
    assert [record.values for record in there.read(asked)] == [record.values for record in here.read(asked)]


def test_a_server_of_whole_files_gives_no_members_of_tars(served):
    serve, _ = served
    source = SOURCES["small.tar"](f"{serve(Whole)}/small.tar")
    with pytest.raises(DataError, match=r"can only be had whole, .* was answered with [\d,]+\): copy the file"):
        source.read([20])


def test_a_server_of_whole_files_gives_no_columns_of_large_ones(served):
    serve, _ = served
    with pytest.raises(DataError, match="can only be had whole, since its server knows no ranges of bytes"):
        open_columns(f"{serve(Whole)}/large.parquet", {})
