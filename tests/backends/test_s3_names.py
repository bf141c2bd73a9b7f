"""The parts of the S3 backend that do no I/O: URLs, names, what objects hold, sizes of parts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import S3Options, open_backend
from backends.errors import Corrupt, InvalidKey
from backends.keys import is_key
from backends.s3 import entries
from backends.s3.backend import bound
from backends.s3.multipart import MAX_PARTS, MIN_PART_BYTES, part_bytes
from backends.s3.place import parse_place

NO_OPTIONS = S3Options()
MIB = 1 << 20


def test_nothing_of_boto3_is_loaded_without_s3() -> None:
    code = (
        "import sys, backends, distserver.app as app; from distserver.config import Config;"
        "backends.initialise(backends.open_backend(sys.argv[1], reserve_bytes=0));"
        "app.create_app(Config(storage=(sys.argv[1],), state=sys.argv[1] + '/.state'));"
        "sys.exit(str([m for m in sys.modules if m.split('.')[0] in ('boto3', 'botocore')]))"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_url_names_bucket_and_prefix() -> None:
    place = parse_place("s3://images/ship/one/", S3Options(endpoint="http://here:9000"))
    assert (place.bucket, place.prefix) == ("images", "ship/one/")
    assert place.entry("a/b") == "ship/one/a/b"
    assert str(place) == "bucket images at http://here:9000"
    assert parse_place("s3://images", NO_OPTIONS).entry("a/b") == "a/b"


def test_parameters_of_a_url_win_over_the_options() -> None:
    url = "s3://images?endpoint=https://there&region=x&ca_file=/ca.pem&path_style=false"
    options = parse_place(url, S3Options("http://here", "y", "", True, "", 3)).options
    assert options == S3Options("https://there", "x", "/ca.pem", False, "", 3)


@pytest.mark.parametrize(
    "url",
    [
        *("s3:", "s3://", "s3:bucket", "s3:///key", "s3://b", "s3://user@bucket", "s3://bucket:9"),
        *("s3://bucket/a b", "s3://bucket/../x", "s3://bucket/.data", "s3://bucket/tmp/x"),
        *("s3://bucket#x", "s3://bucket?secret=x", "s3://bucket?path_style=maybe"),
        *("s3://bucket?endpoint=here:9000", "s3://bucket?endpoint=http://user:pw@here"),
        "s3://bucket/" + "a" * 201,
    ],
)
def test_what_is_no_url_of_a_bucket_is_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match="storage 's3:"):
        open_backend(url)


def test_our_own_objects_are_no_entries() -> None:
    place = parse_place("s3://images/p", NO_OPTIONS)
    data = place.data(entries.new_data_id())
    assert data.startswith(place.data()) and place.is_own(data) and place.is_own(place.own("x"))
    assert not is_key(data.removeprefix(place.prefix))
    assert data < place.behind_own < place.entry("0")
    with pytest.raises(InvalidKey):
        place.entry(data.removeprefix(place.prefix))


@given(st.binary(max_size=100))
def test_a_small_entry_comes_back(data: bytes) -> None:
    stored = entries.encode_small(data)
    assert entries.decode("n", stored, len(stored)) == data
    assert entries.size_of("n", stored[: entries.POINTER_BYTES], len(stored)) == len(data)


@given(st.integers(0, 1 << 60))
def test_a_pointer_comes_back_and_has_one_length(size: int) -> None:
    pointer = entries.Pointer(entries.new_data_id(), size)
    stored = pointer.encode()
    assert len(stored) == entries.POINTER_BYTES
    assert entries.decode("n", stored, len(stored)) == pointer
    assert entries.size_of("n", stored, len(stored)) == size


def test_what_looks_like_a_pointer_may_be_pushed() -> None:
    looks = entries.Pointer(entries.new_data_id(), 9).encode()
    stored = entries.encode_small(looks)
    assert entries.decode("n", stored, len(stored)) == looks


@pytest.mark.parametrize(
    "head", [b"", b"\x02x", b"\x01", b"\x01" + b"g" * 52, b"\x01" + b"a" * 52, b"\x01" * 53, b"{}"]
)
def test_an_object_that_we_did_not_write_is_corrupt(head: bytes) -> None:
    with pytest.raises(Corrupt):
        entries.decode("n", head, len(head))
    with pytest.raises(Corrupt):
        entries.size_of("n", head, len(head))


def test_an_object_that_was_cut_short_or_grew_is_corrupt() -> None:
    pointer = entries.Pointer(entries.new_data_id(), 9).encode()
    for head, total in ((pointer[:-1], 52), (pointer, 54), (b"\x00" + bytes(9), 11)):
        with pytest.raises(Corrupt):
            entries.decode("n", head, total)


_KEYS = st.text("!+-./0Az", min_size=1, max_size=4).filter(is_key)


@given(st.lists(_KEYS, max_size=20), st.text("!+-./0Az~ \x00é\udcff", max_size=5))
def test_a_bound_leaves_out_the_same_keys(keys: list[str], after: str) -> None:
    assert bound(after).isascii() and bound(after).isprintable()
    assert not {".", ".."} & set(bound(after).split("/")), "MinIO takes no such text"
    assert [key for key in keys if key > bound(after)] == [key for key in keys if key > after]


def test_parts_grow_so_that_ten_thousand_are_enough() -> None:
    sizes = [part_bytes(number) for number in range(1, MAX_PARTS + 1)]
    assert sizes[0] == sizes[999] == MIN_PART_BYTES == 8 * MIB
    assert sizes[1000] == 16 * MIB
    assert max(sizes) <= 5 * 1024 * MIB, "S3's limit of a part"
    assert sum(sizes) > 5 * MIB * MIB, "at least 5 TiB in all"
    assert sum(sizes[:1000]) >= 7 * 1024 * MIB, "usual layers have parts of 8 MiB"
