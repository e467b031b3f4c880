"""What a contributor relies on: the guide names what exists, and citation, licences and workflows are in order."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_utils import checkpoints, doctor, smollm2


def test_the_citation_has_what_the_format_asks_for(root):
    """Citation File Format 1.2: required keys, and the version of the package."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    holder = re.search(r"Copyright \(c\) \d+ (.+)", (root / "LICENSE").read_text("utf-8"))[1]
    assert citation["authors"] == [{"name": holder}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", citation["date-released"])
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert f"\n## {project['version']}\n" in (root / "CHANGELOG.md").read_text("utf-8")


def test_the_guide_names_what_exists(root):
    guide = (root / "CONTRIBUTING.md").read_text("utf-8")
    made = {"_build/", "dist/", "course_utils/weights/NAME.json"}
    named = (
        set(re.findall(r"`((?:book|course_utils|tests|benchmarks|\.ci|\.github|_build|dist)/[\w./-]*)`", guide)) - made
    )
    assert len(named) > 8
    assert [name for name in sorted(named) if not (root / name).exists() and "NN" not in name] == []
    makefile = (root / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`make ([\w-]+)`", guide)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_derived_files_stand_in_one_table_whose_commands_exist(root):
    tables = [path.name for path in root.glob("*.md") if "| derived file |" in path.read_text("utf-8")]
    assert tables == ["CONTRIBUTING.md"]
    guide = (root / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:`|ids|outputs).*\|$", guide.split("## Derived files")[1].split("##")[0], re.M)
    commands = re.findall(r"python -m course_utils (\w+)", "\n".join(rows))
    known = re.findall(r'add_parser\("(\w+)"', (root / "course_utils/__main__.py").read_text("utf-8"))
    assert len(rows) >= 10 and len(commands) >= 5 and set(commands) <= set(known)


@pytest.mark.parametrize("name", ["test", "site", "release"])
def test_a_workflow_uses_the_commands_of_the_repository_and_pins_what_it_takes(root, name):
    text = (root / f".github/workflows/{name}.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"].values()
    commands = [step["run"] for job in jobs for step in job.get("steps", []) if "run" in step]
    assert {"test": ".ci/run", "site": "make workshop", "release": "make workshop"}[name] in commands
    assert not re.search(r"pip install|https?://", text)  # what is installed stands in the Makefile and .ci/run
    taken = re.findall(r"uses: (?!\./)(.+)", text)
    assert taken and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d[\d.]*", each) for each in taken), taken


@pytest.mark.parametrize("name, rights", [("site", {"deploy", "student"}), ("release", {"publish"})])
def test_what_is_published_was_tested_and_built_without_any_right(root, name, rights):
    workflow = yaml.safe_load((root / f".github/workflows/{name}.yml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert {key for key, job in jobs.items() if "permissions" in job} == rights
    for key in rights:
        assert set(jobs[key]["needs"]) == {"test", "build"}
        assert not any("make" in step.get("run", "") for step in jobs[key]["steps"])
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"


def test_workflows_can_be_started_by_hand_and_updates_are_proposed(root):
    for name in ("test", "site"):
        workflow = yaml.safe_load((root / f".github/workflows/{name}.yml").read_text("utf-8"))
        assert "workflow_dispatch" in workflow[True]  # which is how YAML reads "on"
    updates = yaml.safe_load((root / ".github/dependabot.yml").read_text("utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"github-actions", "pip"}


def test_issue_templates_are_forms(root):
    forms = sorted(root.glob(".github/ISSUE_TEMPLATE/*.yml"))
    assert [path.stem for path in forms] == ["bug", "chapter", "config", "idea"]
    for path in forms:
        form = yaml.safe_load(path.read_text("utf-8"))
        if path.stem != "config":
            assert form["name"] and form["description"]
            assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_every_source_of_the_text_has_its_licence(root):
    data = root / "course_utils/data"
    sources = json.loads((data / "sources.json").read_text("utf-8"))
    entries = sources.values() if isinstance(sources, dict) else sources
    names = [entry["name"] for entry in entries] if all("name" in e for e in entries) else list(sources)
    readme = (data / "README.md").read_text("utf-8")
    licences = " ".join(path.name.lower() for path in (data / "licenses").iterdir())
    assert len(names) >= 9
    for name in names:
        assert re.search(rf"(?i)\| `?{name}`? \|", readme), name
        assert name.lower() in licences, name


def test_the_keys_of_the_weights_are_the_documented_ones(root):
    """course_utils/weights/README.md lists them with their shapes."""
    readme = (root / "course_utils/weights/README.md").read_text("utf-8")
    documented = re.search(r"Keys of the weights.*?(?=`course_utils\.load_model)", readme, re.S)[0]
    shapes, waiting = {}, []
    for names, shape in re.findall(r"`(W_\w+)(?: \[([^\]]+)\])?`", documented):
        waiting.append(names)
        if shape:
            shapes |= dict.fromkeys(waiting, shape)
            waiting = []
    for name in checkpoints.SHIPPED:
        card = checkpoints.load_card(name)
        sizes = card["config"] | {"L": card["config"]["n_layers"], "H": card["config"]["n_heads"]}
        tensors = checkpoints.read_tensors(checkpoints.WEIGHTS / f"{name}.safetensors", card["sha256"])
        assert {key: list(value.shape) for key, value in tensors.items()} == {
            key: [sizes[axis.strip()] for axis in shape.split(",")] for key, shape in shapes.items()
        }, name


# --- the public model ---


def test_the_public_model_is_installed():
    found = doctor.public_model()
    if not found.good:
        pytest.fail(f"{found.says}. Remedy: {found.remedy}", pytrace=False)


def test_its_package_is_pinned_by_hash_and_is_that_of_the_card(root):
    pinned = (root / "requirements-model.txt").read_text("utf-8")
    [(name, version)] = re.findall(r"^([\w-]+)==([\d.]+) --hash=sha256:[0-9a-f]{64}$", pinned, re.M)
    assert len([line for line in pinned.splitlines() if line[:1] != "#"]) == 1
    card = smollm2.load_card()
    assert (name, version, "Apache-2.0") == (card["package"], card["version"], card["license"])
    assert metadata.version(name) == version


def unmet() -> Iterator[tuple[str, str]]:
    """What `pip check` says of this environment: a package, and one that it asks for and has not got."""
    have = {canonicalize_name(package.metadata["Name"]): package for package in metadata.distributions()}
    for name, package in have.items():
        for wanted in map(Requirement, package.requires or []):
            got = have.get(canonicalize_name(wanted.name))
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                if got is None or not wanted.specifier.contains(got.version, prereleases=True):
                    yield name, wanted.name


def test_what_its_package_asks_for_is_left_out_and_said(root):
    assert sorted(unmet()) == [(smollm2.load_card()["package"], name) for name in sorted(doctor.LEFT_OUT)]
    for place in ("README.md", "requirements-model.txt"):
        text = (root / place).read_text("utf-8")
        assert "`pip check`" in text and all(name in text for name in doctor.LEFT_OUT), place
    assert all(name in doctor.public_model().says for name in doctor.LEFT_OUT)


def test_its_licence_is_where_the_others_are(root):
    licence = "licenses/smollm2-135m.txt"
    text = (root / "course_utils/data" / licence).read_text("utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert f"`{licence}`" in (root / "course_utils/data/README.md").read_text("utf-8")
    assert f"`course_utils/data/{licence}`" in (root / "README.md").read_text("utf-8")
