"""Caption files of unusual form: Unicode forms of names, quoted headers, repeated keys, long texts and encodings."""

from __future__ import annotations

import csv
import json
import tarfile
import unicodedata

import pytest
from PIL import Image

from genprior.errors import DataError
from genprior_std.datasets.captions import read_captions, text_lines
from genprior_std.datasets.folder import Folder
from genprior_std.datasets.webdataset import WebDataset

COMPOSED = "caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
LONGEST = 131_072


def read(home, name, content, pictures=("a.png",), wanted=None):
    """The captions by the names of the pictures, which need not exist."""
    (home / name).write_bytes(content.encode() if isinstance(content, str) else content)
    captions = read_captions([home], [home / picture for picture in pictures], wanted)
    return {str(picture.relative_to(home)): texts for picture, texts in captions.of.items()}


def line(**record):
    return json.dumps(record, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("part", [Folder, WebDataset])
def test_a_column_of_captions_that_are_not_read_is_refused(part, tmp_path):
    home, shard = tmp_path / "home", tmp_path / "0.tar"
    home.mkdir()
    Image.new("L", (8, 8), 255).save(home / "a.png")
    with tarfile.open(shard, "w") as tar:
        tar.add(home / "a.png", "a.png")
    path = home if part is Folder else shard
    with pytest.raises(DataError) as caught:
        part.Config(path=path, captions=False, caption_column="title").make().load("train")
    assert str(caught.value) == (
        f"data set '{part.name}': caption_column = 'title' has no effect with captions = false, which ignores "
        "captions; leave one of the two out"
    )


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("written", [COMPOSED, DECOMPOSED])
def test_a_name_is_found_in_another_unicode_form(tmp_path, there, written):
    picture = f"{there}/{there}.png"
    assert read(tmp_path, "captions.jsonl", line(file_name=f"{written}/{written}.png", text="x"), [picture]) == {
        picture: ("x",)
    }


def test_of_two_files_whose_names_differ_only_in_form_each_has_its_own_caption(tmp_path):
    names = [f"{COMPOSED}\u0323.png", unicodedata.normalize("NFD", f"{COMPOSED}\u0323.png")]
    texts = line(file_name=names[0], text="first") + line(file_name=names[1], text="second")
    assert read(tmp_path, "captions.jsonl", texts, names) == {names[0]: ("first",), names[1]: ("second",)}
    third = unicodedata.normalize("NFC", names[0])
    assert third not in names
    with pytest.raises(DataError, match="captions of an image that is not there: "):
        read(tmp_path, "captions.jsonl", line(file_name=third, text="x"), names)


@pytest.mark.parametrize("name", [250 * "long" + ".png", "nul\0.png"])
def test_a_name_that_no_file_can_have_is_not_there(tmp_path, name):
    with pytest.raises(DataError, match=r"captions of an image that is not there: (long){50}\.\.\.; c|there: nul\\x00"):
        read(tmp_path, "captions.jsonl", line(file_name=name, text="x"))


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_a_quoted_header_may_have_line_ends(tmp_path):
    header = '"the\nname, of\r\na \u82b1",file_name,"text"\r\n'
    assert read(tmp_path, "metadata.csv", header + '1,a.png,"one\ntwo"\r\n') == {"a.png": ("one\ntwo",)}
    # The lines of the header count.
    with pytest.raises(DataError, match=r"metadata\.csv: line 4 has an empty caption of a\.png"):
        read(tmp_path, "metadata.csv", header + "1,a.png,\n")


def test_two_columns_of_names_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"metadata\.csv: 2 columns are called file_name; keep one"):
        read(tmp_path, "metadata.csv", "file_name,text,file_name\na.png,x,b.png\n")


# --- JSON lines -------------------------------------------------------------------------------------------------------


def test_a_later_line_with_two_columns_of_captions_is_refused(tmp_path):
    content = line(file_name="a.png", text="x") + line(file_name="a.png", text="x", caption="y")
    with pytest.raises(
        DataError,
        match=r"captions\.jsonl: line 2 has text and caption, which may all be the captions; set caption_column to the",
    ):
        read(tmp_path, "captions.jsonl", content)
    assert read(tmp_path, "captions.jsonl", content, wanted="text") == {"a.png": ("x", "x")}


@pytest.mark.parametrize("first", ["", line(file_name="a.png", text="x")])
@pytest.mark.parametrize("key", ["text", "file_name", "box"])
def test_a_repeated_key_is_refused(tmp_path, first, key):
    repeated = '{"box": 1, "file_name": "a.png", "text": "x", "' + key + '": "y"}\n'
    with pytest.raises(
        DataError, match=rf"captions\.jsonl: line {1 + bool(first)} has {key} more than once; keep one$"
    ):
        read(tmp_path, "captions.jsonl", first + repeated)


# --- length and encoding ----------------------------------------------------------------------------------------------


def content_of(name, text):
    return f"file_name,text\na.png,{text}\n" if name.endswith(".csv") else line(file_name="a.png", text=text)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_both_kinds_of_files_have_one_limit_of_length(tmp_path, name):
    before = csv.field_size_limit()
    assert read(tmp_path, name, content_of(name, LONGEST * "\u82b1")) == {"a.png": (LONGEST * "\u82b1",)}
    message = {
        "metadata.csv": r"metadata\.csv: line 2 has a cell of more than 131,072 characters; shorten it",
        "metadata.jsonl": r"line 1 has a caption of 131,073 characters for a\.png; the limit is 131,072: shorten it",
    }
    with pytest.raises(DataError, match=message[name]):
        read(tmp_path, name, content_of(name, LONGEST * "x" + "y"))
    assert csv.field_size_limit() == before


def test_a_limit_that_another_library_raises_changes_nothing(tmp_path):
    before = csv.field_size_limit(10**7)
    try:
        with pytest.raises(DataError, match=r"line 2 has a caption of 131,073 characters for a\.png; the limit is 131"):
            read(tmp_path, "metadata.csv", content_of("metadata.csv", LONGEST * "x" + "y"))
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-32"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_other_encodings_of_unicode_are_named(tmp_path, encoding, order):
    content = ("\ufeff" + line(file_name="a.png", text="x")).encode(f"{encoding}-{order}")
    with pytest.raises(DataError, match=rf"captions\.jsonl: its encoding is {encoding}; save it as UTF-8"):
        read(tmp_path, "captions.jsonl", content)


def test_lines_end_where_text_editors_end_them_and_nowhere_else(tmp_path):
    content = "\ufeffone\rtwo\r\nthree\n\nfi\u2028ve\x0b\x85 six".encode()
    assert list(text_lines(tmp_path, content)) == ["one\r", "two\r\n", "three\n", "\n", "fi\u2028ve\x0b\x85 six"]
    assert list(text_lines(tmp_path, b"")) == []
