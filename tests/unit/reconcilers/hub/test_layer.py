"""Small files are read from the start of a layer, however it is packed."""

import gzip
import tarfile
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pykaito.reconcilers.hub import layer as module
from pykaito.reconcilers.hub.layer import LayerError, LayerReader
from tests.unit.reconcilers.hub.stand_ins import layer

FILES = {
    "workspace/weights/README.md": b"x" * 700,
    "workspace/weights/config.json": b'{"a": 1}',
    "workspace/weights/empty": b"",
    f"workspace/{'deep/' * 30}config.json": b"{}",
    "workspace/weights/model.safetensors": b"\0" * 5000,
}
FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def wanted(path: str) -> bool:
    return path == "workspace/weights/config.json"


def in_folder(path: str) -> bool:
    return path.startswith("workspace/weights/")


def read(content: bytes, step: int = 1 << 16) -> LayerReader:
    reader = LayerReader(wanted, in_folder)
    for start in range(0, len(content), step):
        reader.feed(content[start : start + step])
    return reader


def gzip_in_pieces(content: bytes) -> bytes:
    """Pack as tools do that make a layer's files findable."""
    return b"".join(
        gzip.compress(content[start : start + 512])
        for start in range(0, len(content), 512)
    )


@pytest.mark.parametrize("step", [1, 3, 511, 513, 1 << 16])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, gzip_in_pieces])
def test_files_are_found_whatever_the_form(pack, form, step) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    reader = read(pack(layer(FILES, form)), step)
    assert reader.contents == {"workspace/weights/config.json": b'{"a": 1}'}
    assert reader.sizes["workspace/weights/model.safetensors"] == 5000
    assert reader.done


def test_a_path_that_starts_at_the_root_or_here_is_the_same() -> None:
    for start in ("/", "./"):
        path = f"{start}workspace/weights/config.json"
        assert read(layer({path: b"{}"})).contents


def test_the_size_of_a_file_is_known_before_its_data_comes() -> None:
    start = layer(FILES)[: -5000 - 2048]
    assert read(start).sizes["workspace/weights/model.safetensors"] == 5000


def test_a_file_larger_than_a_header_can_say_is_passed_over() -> None:
    """Go's tar, which image builders use, tells such sizes in a pax header."""
    entry = tarfile.TarInfo("workspace/weights/model.safetensors")
    entry.size = 9 << 30
    header = entry.tobuf(tarfile.PAX_FORMAT)
    reader = read(header)
    assert reader.sizes == {"workspace/weights/model.safetensors": 9 << 30}
    reader.feed(layer({"workspace/weights/config.json": b"{}"}))
    assert reader.contents == {}


def test_zeros_that_unpack_to_more_than_all_memory_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "UNPACKED_LIMIT", 4 << 20)
    bomb = gzip.compress(layer({"zeros": bytes(32 << 20)}))
    assert len(bomb) < 64 << 10
    reader = read(bomb)
    assert reader.done
    assert reader._unpacked <= 6 << 20


def test_files_elsewhere_are_not_even_counted() -> None:
    reader = read(layer({"usr/bin/python": b"x", "workspace/weights/a": b"x"}))
    assert reader.sizes == {"workspace/weights/a": 1}


def pax(records: bytes) -> bytes:
    """Return a header that tells the records of the file after it."""
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, len(records)
    return entry.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


def test_a_million_bytes_of_records_take_no_longer_than_reading_them() -> None:
    """As many as are read at once; in time that grows with its square it is 7 s."""
    records = b"4 =\n" * ((module.PAX_LIMIT - 64) // 4) + b"13 size=4097\n"
    began = time.process_time()
    reader = read(
        pax(records)
        + tarfile.TarInfo("workspace/weights/a").tobuf(tarfile.USTAR_FORMAT)
    )
    assert reader.sizes == {"workspace/weights/a": 4097}
    assert time.process_time() - began < 3


def test_more_records_than_any_file_has_are_passed_over() -> None:
    records = b"13 size=4097\n" + b"4 =\n" * (module.PAX_LIMIT // 4)
    reader = read(pax(records) + layer({"workspace/weights/a": b"x"}))
    assert reader.sizes == {"workspace/weights/a": 1}


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(LayerError, match="zstd"):
        read(b"\x28\xb5\x2f\xfd" + b"x" * 600)
    with pytest.raises(LayerError, match="no tar of gzip"):
        read(b"x" * 600)
    with pytest.raises(LayerError, match="no tar of gzip"):
        read(gzip.compress(b"")[:-6] + b"xxxxxx" + b"y" * 600)


def test_a_negative_size_is_refused() -> None:
    entry = tarfile.TarInfo("x")
    entry.size = -5
    with pytest.raises(LayerError, match="size of -5"):
        read(entry.tobuf(tarfile.GNU_FORMAT))


def test_a_name_that_is_no_text_can_be_told() -> None:
    entry = tarfile.TarInfo("x\udcff\x1b[2J")
    entry.size = -5
    with pytest.raises(LayerError) as caught:
        read(entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    assert str(caught.value).isprintable()
    assert str(caught.value).encode()


PLAIN = layer(FILES)


@settings(max_examples=200)
@given(
    st.binary(max_size=2000),
    st.integers(0, len(PLAIN)),
    st.booleans(),
    st.integers(1, 700),
)
@example(b"\x1f\x8b", 0, False, 1)
def test_no_bytes_are_worse_than_unreadable(
    noise: bytes, at: int, packed: bool, step: int
) -> None:
    content = PLAIN[:at] + noise + PLAIN[at:]
    try:
        read(gzip.compress(content) if packed else content, step)
    except LayerError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
