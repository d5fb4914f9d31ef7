"""Reading JSON that is missing, damaged, or not what it should be."""

import pytest

from lab.runs.reading import parse_rows, read_json


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"[1]", b"\xff", b"[" * 100_000])
def test_a_file_without_a_json_object_is_read_as_an_empty_one(tmp_path, content):
    if content is not None:
        (tmp_path / "file.json").write_bytes(content)
    assert read_json(tmp_path / "file.json") == {}
    (tmp_path / "file.json").write_bytes(b'{"a": 1}')
    assert read_json(tmp_path / "file.json") == {"a": 1}


@pytest.mark.parametrize("bad", [b"", b"{\n", b"[1]\n", b"\xff\n", b'{"a": {}}\n', b'{"a": 1} {"a": 2}\n',
                                 b'{"a": ' + b"[" * 100_000 + b"\n"])
def test_lines_that_are_no_json_objects_are_passed_over(bad):
    rows = parse_rows(b'{"a": 1}\n' + bad + b'{"a": 2}\n')
    assert [row for row in rows if row["a"]] == [{"a": 1}, {"a": 2}]
