"""Stores behind an address: in memory, and a server that speaks S3 (moto), on this machine."""

import contextlib

import fsspec
import pytest
from torch.utils.data import DataLoader

from sensorium.data.stores.parquet import ParquetSource
from sensorium.data.stores.webdataset import WebDatasetSource
from tests.core.data.stores.written import COUNT, USES, write_store

KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sensorium" / "tars"


def test_tars_and_parquet_are_read_from_a_file_system_of_fsspec(tmp_path, cache):
    memory = fsspec.filesystem("memory")
    for name in ("parquet", "webdataset"):
        _, here = write_store(name, tmp_path / name)
        memory.put(str(tmp_path / name), f"/{name}", recursive=True)
    records = ParquetSource("memory://parquet", **USES)
    assert records.read(range(COUNT)) == ParquetSource(str(tmp_path / "parquet"), **USES).read(range(COUNT))
    tars = WebDatasetSource(**here | {"path": "memory://webdataset/part-*.tar"})
    assert tars.read(range(COUNT)) == records.read(range(COUNT))
    assert len(list(cache.iterdir())) == 3
    assert str(tars.locate(22, "text")) == "memory:///webdataset/part-2.tar:r22.txt"


@pytest.fixture
def bucket(monkeypatch, cache):
    """Return the address of a server of its own, which has a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(port=0)
    with contextlib.redirect_stdout(None):
        server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
    yield url
    server.stop()


def upload(url, folder, below):
    import boto3

    client = boto3.client("s3", endpoint_url=url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), "bucket", f"{below}/{path.relative_to(folder)}")


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("store", ["parquet", "lance", "webdataset"])
def test_an_object_store_gives_what_files_give(store, start, bucket, tmp_path):
    name, options = write_store(store, tmp_path / store)
    from sensorium.registration.discovery import load_extensions

    kind = load_extensions(found=[]).registry.find("sources", name).load()
    expected = kind(**options).read(range(COUNT))
    upload(bucket, tmp_path / store, store)
    path = {
        "parquet": "s3://bucket/parquet",
        "lance": "s3://bucket/lance/all.lance",
        "webdataset": "s3://bucket/webdataset/part-{0..2}.tar",
    }
    storage = {"endpoint_url": bucket}
    if store == "lance":
        storage = {"aws_endpoint": bucket, "allow_http": "true", "aws_region": "us-east-1"}
    source = kind(**options | {"path": path[store], "options": storage})
    assert source.read(range(COUNT)) == expected
    batches = [range(at, min(at + 4, COUNT)) for at in range(0, COUNT, 4)]
    loader = DataLoader(source, batch_sampler=batches, num_workers=2, collate_fn=list, multiprocessing_context=start)
    assert [record for batch in loader for record in batch] == expected
