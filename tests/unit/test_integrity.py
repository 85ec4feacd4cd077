"""Binarised data: every way in which files can disagree is found, and named with numbers."""

import os

import pytest
import torch

from fairseq_bas.data.dictionary_file import verify_dictionary
from fairseq_bas.data.integrity import verify_mmap_dataset, verify_split

indexed_dataset = pytest.importorskip("fairseq.data.indexed_dataset")

SENTENCES = [[4, 5, 2], [6, 2], [4, 4, 4, 4, 2]]  # 10 tokens


def write(prefix, sentences=SENTENCES, impl="mmap", vocab_size=100):
    """Write a data set with fairseq's own builder; 100 types take 2 bytes a token."""
    builder = indexed_dataset.make_builder(f"{prefix}.bin", impl, vocab_size)
    for sentence in sentences:
        builder.add_item(torch.tensor(sentence, dtype=torch.int32))
    builder.finalize(f"{prefix}.idx")
    return prefix


def write_pair(folder, split="train", pair="en-de", source=SENTENCES, target=SENTENCES):
    write(folder / f"{split}.{pair}.en", source)
    write(folder / f"{split}.{pair}.de", target)


@pytest.mark.parametrize("vocab_size", [100, 100_000, 5_000_000_000, None])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_counts_what_fairseq_wrote(tmp_path, vocab_size, count):
    prefix = write(tmp_path / "train", SENTENCES[:count], vocab_size=vocab_size)
    assert verify_mmap_dataset(prefix) == count
    if count:
        assert len(indexed_dataset.MMapIndexedDataset(str(prefix))) == count


@pytest.mark.parametrize("lost", [1, 10, 20])
def test_truncated_data(tmp_path, lost):
    prefix = write(tmp_path / "train")
    os.truncate(tmp_path / "train.bin", 20 - lost)
    complaint = rf"train\.bin is cut off: it has {20 - lost} bytes and needs 20 according to .*idx"
    with pytest.raises(ValueError, match=complaint):
        verify_mmap_dataset(prefix)


def test_data_of_another_run(tmp_path):
    prefix = write(tmp_path / "train")
    write(tmp_path / "other", [*SENTENCES, [7, 2]])
    (tmp_path / "other.bin").rename(tmp_path / "train.bin")
    with pytest.raises(ValueError, match="does not match its index: it has 24 bytes and needs 20"):
        verify_mmap_dataset(prefix)


@pytest.mark.parametrize("size", [0, 8, 25, 26, 40, 61])
def test_truncated_index(tmp_path, size):
    """The index of 3 sentences has 26 + 3 * (4 + 8) = 62 bytes."""
    prefix = write(tmp_path / "train")
    assert (tmp_path / "train.idx").stat().st_size == 62
    os.truncate(tmp_path / "train.idx", size)
    with pytest.raises(ValueError, match=rf"train\.idx is cut off: it has {size} bytes"):
        verify_mmap_dataset(prefix)


@pytest.mark.parametrize(
    "offset, value, complaint",
    [
        (0, b"X", "is not a fairseq index: it starts with b'XMIDIDX"),
        (9, b"\x02", "has version 2 and token type 8"),
        (17, b"\x63", "has version 1 and token type 99"),
        (18, b"\x04", "is cut off: it has 62 bytes and needs 74 for 4 sentences"),
        (18, b"\x02", "does not match its index: it has 62 bytes and needs 50 for 2 sentences"),
    ],
)
def test_damaged_header(tmp_path, offset, value, complaint):
    prefix = write(tmp_path / "train")
    with open(tmp_path / "train.idx", "r+b") as file:
        file.seek(offset)
        file.write(value)
    with pytest.raises(ValueError, match=complaint):
        verify_mmap_dataset(prefix)


@pytest.mark.parametrize("suffix", ["idx", "bin"])
def test_missing_file(tmp_path, suffix):
    prefix = write(tmp_path / "train")
    (tmp_path / f"train.{suffix}").unlink()
    with pytest.raises(ValueError, match=rf"train\.{suffix} does not exist; run fairseq-prep"):
        verify_mmap_dataset(prefix)


@pytest.mark.parametrize("pair", ["en-de", "de-en"])
def test_split_is_found_under_either_name(tmp_path, pair):
    write_pair(tmp_path, pair=pair)
    assert verify_split(tmp_path, "train", "en", "de") == 3


def test_combined_parts_are_counted_and_checked(tmp_path):
    write_pair(tmp_path)
    write_pair(tmp_path, "train1", source=SENTENCES[:2], target=SENTENCES[1:])
    assert verify_split(tmp_path, "train", "en", "de", combine=True) == 5
    os.truncate(tmp_path / "train1.en-de.de.bin", 3)
    assert verify_split(tmp_path, "train", "en", "de") == 3
    with pytest.raises(ValueError, match=r"train1\.en-de\.de\.bin is cut off"):
        verify_split(tmp_path, "train", "en", "de", combine=True)


def test_split_without_files_names_both_directions(tmp_path):
    write_pair(tmp_path)
    with pytest.raises(ValueError, match=r"no valid\.en-de\.en nor valid\.de-en\.en .*--validpref"):
        verify_split(tmp_path, "valid", "en", "de")


def test_sides_of_unequal_length(tmp_path):
    write_pair(tmp_path, target=SENTENCES[:2])
    with pytest.raises(ValueError, match=r"en-de\.en has 3 sentences but .*en-de\.de has 2"):
        verify_split(tmp_path, "train", "en", "de")


def test_empty_split(tmp_path):
    write_pair(tmp_path, source=[], target=[])
    with pytest.raises(ValueError, match=r"en\.idx holds no sentences"):
        verify_split(tmp_path, "train", "en", "de")


def test_target_side_may_be_absent_only_on_request(tmp_path):
    write(tmp_path / "test.en-de.en")
    with pytest.raises(ValueError, match=r"test\.en-de\.de\.idx does not exist"):
        verify_split(tmp_path, "test", "en", "de")
    assert verify_split(tmp_path, "test", "en", "de", require_target=False) == 3
    (tmp_path / "test.en-de.de.bin").touch()  # half a target side is damage
    with pytest.raises(ValueError, match=r"test\.en-de\.de\.idx does not exist"):
        verify_split(tmp_path, "test", "en", "de", require_target=False)


def test_other_formats_are_left_to_fairseq(tmp_path):
    for lang in ("en", "de"):
        write(tmp_path / f"train.en-de.{lang}", impl="cached")
        (tmp_path / f"valid.en-de.{lang}").write_text("one two\n")
    assert verify_split(tmp_path, "train", "en", "de") is None
    assert verify_split(tmp_path, "valid", "en", "de") is None


def test_dictionary_that_fairseq_wrote(tmp_path):
    dictionary = pytest.importorskip("fairseq.data").Dictionary()
    for token in ("a", "ß", "▁the", "a b"):
        dictionary.add_symbol(token, n=3)
    dictionary.pad_to_multiple_(8)  # adds madeupword0000 and so on
    dictionary.save(str(tmp_path / "dict.en.txt"))
    assert verify_dictionary(tmp_path, "en") == len(dictionary) - 4
    (tmp_path / "dict.en.txt").rename(tmp_path / "dict.txt")
    assert verify_dictionary(tmp_path) == len(dictionary) - 4


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b"", "has no entries"),
        (b"a 3\nb\n", "line 2 of .* is not TOKEN COUNT but 'b'"),
        (b"a 3\nb many\n", "line 2 of .* is not TOKEN COUNT but 'b many'"),
        (b"a 3\n\nb 1\n", "line 2 of .* is not TOKEN COUNT but ''"),
        (b"a 3\nb 2\na 1\n", "line 3 of .* repeats the token 'a'"),
        (b"<unk> 3\n", "line 1 of .* repeats the token '<unk>'"),
        (b"a 3\n\xff\xfe 1\n", "is not UTF-8"),
    ],
)
def test_dictionaries_that_fairseq_refuses(tmp_path, content, complaint):
    path = tmp_path / "dict.en.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        verify_dictionary(tmp_path, "en")
    if content:
        with pytest.raises(Exception):  # noqa: B017 - fairseq raises three kinds
            pytest.importorskip("fairseq.data").Dictionary.load(str(path))


def test_dictionary_may_overwrite_a_symbol(tmp_path):
    path = tmp_path / "dict.en.txt"
    path.write_text("a 3\n<unk> 1 #fairseq:overwrite\na 2 #fairseq:overwrite\n")
    dictionary = pytest.importorskip("fairseq.data").Dictionary.load(str(path))
    assert verify_dictionary(tmp_path, "en") == len(dictionary) - 4 == 3


def test_missing_dictionary(tmp_path):
    with pytest.raises(ValueError, match=r"dict\.fr\.txt does not exist"):
        verify_dictionary(tmp_path, "fr")
