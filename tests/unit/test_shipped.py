"""A file of numbers that ships: what is written, and its line in the manifest."""

import hashlib
import json

from tools.shipped import ship


def test_a_file_is_written_with_its_line_in_the_manifest(tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"tokens": 3, "files": {"z.json": {"bytes": 1}, "a.json": {"bytes": 2}}}))
    ship(tmp_path / "b.json", {"x": [1, 2]}, separators=(",", ":"))
    raw = (tmp_path / "b.json").read_bytes()
    assert raw == b'{"x":[1,2]}\n'
    now = json.loads(manifest.read_text())
    assert now["tokens"] == 3 and list(now["files"]) == ["a.json", "b.json", "z.json"]
    assert now["files"]["b.json"] == {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}


def test_without_a_manifest_there_is_only_the_file(tmp_path):
    ship(tmp_path / "b.json", {"x": 1}, indent=1)
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]
    assert (tmp_path / "b.json").read_text() == '{\n "x": 1\n}\n'
