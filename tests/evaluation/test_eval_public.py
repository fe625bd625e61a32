"""Public data sets by name: where they lie, what is missing, fetching them, and sizes that are not right."""

from __future__ import annotations

import errno
import http.client
import io
import json
import os
import shutil
import time
import urllib.request
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import huggingface_hub
import pytest
from clip_benchmark.datasets.builder import dataset_collection, get_dataset_default_task

from pgsbench.data import evalset, fetch, public
from pgsbench.data.tar import EncodedImage
from pgsbench.errors import DataError
from pgsbench.evaluation import calibration
from pgsbench.evaluation.availability import (
    DAMAGED,
    MISSING,
    PRESENT,
    WRONG_SIZE,
    Availability,
    fetch_missing,
    survey,
)
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite, load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores

MakePicture = Callable[..., EncodedImage]

#: Two entries as they stand in SugarCrepe's files; numbers may have gaps.
ENTRIES = {
    "0": {"filename": "a.jpg", "caption": "A cat on a mat.", "negative_caption": "A dog on a mat."},
    "7": {"filename": "a.jpg", "caption": "A cat sits.", "negative_caption": "A cat stands."},
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of data sets, and leave to use the network (of which there is none in tests)."""
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    return tmp_path / "root"


def suite_of(folder: Path, *tasks: str) -> Suite:
    path = folder / "mine.yaml"
    path.write_text("name: mine\ntasks:\n" + "".join(f"  - {task}\n" for task in tasks))
    return load_suite(path)


def classes(name: str, **more: object) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f'{{name: {name}, data: "clip_benchmark:{name}", protocol: zero_shot, group: g{extra}}}'


def states(suite: Suite) -> dict[str, Availability]:
    return {one.data.partition(":")[2]: one for one in survey(suite)}


# ------------------------------------------------------------------------------------------------ names


def test_the_catalogue_knows_clip_benchmarks_collections() -> None:
    for name in ("vtab", "vtab+", "retrieval", "imagenet_robustness", "sugar_crepe"):
        assert public.collection(name) == tuple(dataset_collection[name])
        for member in dataset_collection[name]:
            known = public.lookup(member)
            assert known.name == member
            assert known.size is not None
            is_retrieval = get_dataset_default_task(member) == "zeroshot_retrieval"
            assert is_retrieval == (member in dataset_collection["retrieval"])


def test_names_of_sets(root: Path) -> None:
    assert public.folder("wds/vtab/cifar10") == root / "wds_vtab-cifar10"
    assert public.lookup("cifar10") == public.lookup("vtab/cifar10")
    assert public.lookup("vtab/cifar10").repository == "clip-benchmark/wds_vtab-cifar10"
    assert public.folder("sugar_crepe/add_att", root=Path("/x")) == Path("/x/sugar_crepe")
    unknown = public.lookup("imagenet1q")
    assert (unknown.folder, unknown.size, unknown.repository) == ("wds_imagenet1q", None, "")
    assert unknown.source == "not in the catalogue: did you mean 'imagenet1k'?"


def test_a_collection_is_one_task_a_set(tmp_path: Path) -> None:
    suite = suite_of(
        tmp_path,
        '{name: find, data: "clip_benchmark:retrieval", protocol: retrieval, group: g, recall_at: [1]}',
        '{name: sc, data: "clip_benchmark:sugar_crepe", protocol: compositional, group: c}',
    )
    assert [task.name for task in suite.tasks][:4] == [
        "find/mscoco_captions",
        "find/flickr8k",
        "find/flickr30k",
        "sc/sugar_crepe/add_att",
    ]
    assert suite.tasks[1].data == "clip_benchmark:flickr8k"
    assert suite.tasks[1].protocol.recall_at == (1,)
    assert [task.protocol.subset for task in suite.tasks[3:]] == [
        "add_att",
        "add_obj",
        "replace_att",
        "replace_obj",
        "replace_rel",
        "swap_att",
        "swap_obj",
    ]
    assert sum(task.size or 0 for task in suite.tasks[3:]) == 7511


def test_the_size_of_another_split_is_not_known(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, classes("mnist"), classes("cars", split="train"), classes("dtd", size=47))
    assert [task.size for task in suite.tasks] == [10_000, None, 47]


# ------------------------------------------------------------------------------------------------ status


def test_status_of_sets_in_every_state(root: Path, data: Path, tmp_path: Path) -> None:
    for name in ("wds_mine", "wds_mnist", "wds_stl10", "wds_cars"):
        shutil.copytree(data / "classes", root / name)
    (root / "wds_stl10" / "classnames.txt").unlink()
    shard = root / "wds_cars" / "test" / "1.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    (root / "wds_cars" / "test" / "nshards.txt").write_text("2\n")
    found = states(suite_of(tmp_path, *(classes(name) for name in ("mine", "mnist", "stl10", "cars", "dtd"))))

    assert (found["mine"].state, found["mine"].count, found["mine"].size) == (PRESENT, 60, None)
    assert (found["mnist"].state, found["mnist"].count, found["mnist"].size) == (WRONG_SIZE, 60, 10_000)
    assert (found["stl10"].state, found["stl10"].problem) == (MISSING, "classnames.txt")
    assert found["cars"].state == DAMAGED
    assert "1.tar" in found["cars"].problem
    assert (found["dtd"].state, found["dtd"].count) == (MISSING, None)
    assert found["dtd"].source == "hf.co/datasets/clip-benchmark/wds_vtab-dtd"
    assert found["dtd"].splits == ("test",)


def test_status_names_each_set_once_for_the_splits_it_is_asked_for(root: Path) -> None:
    found = list(survey(load_suite("paper")))
    assert len(found) == len({(one.data, one.splits) for one in found}) == 36
    assert {one.state for one in found} == {MISSING}
    assert not root.exists()


def test_status_of_built_in_and_own_data(
    root: Path, data: Path, make_picture: MakePicture, tmp_path: Path
) -> None:
    suite = suite_of(
        tmp_path,
        '{name: s, data: "scenes:shape", protocol: zero_shot, group: g}',
        f"{{name: own, data: {data}/pairs, protocol: compositional, subset: swap_att, group: g}}",
        f"{{name: find, data: {data}/retrieval, protocol: retrieval, group: g}}",
    )
    scenes, own, find = survey(suite)
    assert (scenes.state, scenes.source) == (MISSING, "pgsbench data make scenes")
    assert (own.state, own.count, find.count) == (PRESENT, 50, 60)


# ------------------------------------------------------------------------------------------------- fetch


@pytest.fixture
def hub(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """A hub on which every data set is the same; returns what was asked of it."""
    asked: list[tuple[str, list[str]]] = []
    source = shutil.copytree(data / "classes", tmp_path / "hub")
    shutil.copytree(source / "test", source / "train")

    def download(repository: str, *, repo_type: str, local_dir: Path, allow_patterns: list[str]) -> None:
        assert repo_type == "dataset"
        asked.append((repository, allow_patterns))
        for path in source.rglob("*"):
            name = path.relative_to(source)
            if path.is_file() and any(name.match(pattern) for pattern in allow_patterns):
                (local_dir / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, local_dir / name)
        (local_dir / ".cache").mkdir(exist_ok=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(fetch, "_check_hub", lambda where: None)
    return asked


def test_without_a_network_the_hub_is_not_asked_again_and_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it was asked"))
    began = time.monotonic()
    with pytest.raises(
        DataError, match=rf"(?s)mnist: .*{fetch.NO_NETWORK}.*not tried .*: clip_benchmark:dtd"
    ):
        fetch_missing(suite_of(tmp_path, classes("mnist"), classes("dtd")))
    assert time.monotonic() - began < 20  # its library alone waits for longer
    assert capfd.readouterr().err == ""


def test_fetch_gets_what_is_missing_and_no_more(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_vtab-dtd")
    suite = suite_of(tmp_path, classes("mnist", size=60), classes("dtd", size=60))
    assert fetch_missing(suite) == 1
    assert [repository for repository, _ in hub] == ["clip-benchmark/wds_mnist"]
    assert "test/*" in hub[0][1]
    assert not any("*" in pattern for pattern in hub[0][1] if pattern != "test/*")
    assert states(suite)["mnist"].state == PRESENT
    assert sorted(path.name for path in root.iterdir()) == ["wds_mnist", "wds_vtab-dtd"]
    assert not (root / "wds_mnist" / ".cache").exists()
    assert fetch_missing(suite) == 0


def test_fetch_says_when_what_came_has_another_size(
    root: Path, hub: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="clip_benchmark:mnist: wrong size after fetching: 60"):
        fetch_missing(suite_of(tmp_path, classes("mnist")))


def test_a_set_of_another_size_is_said_and_stays(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_mnist")
    with pytest.raises(DataError, match=r"mnist: 60 test items where it has 10,000; move .*wds_mnist away"):
        fetch_missing(suite_of(tmp_path, classes("mnist")))
    assert hub == []


def test_an_interrupted_download_is_not_there(
    root: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(repository: str, *, local_dir: Path, **_: object) -> None:
        shutil.copytree(data / "classes" / "test", local_dir / "test")
        raise ConnectionError("gone\nmore")

    monkeypatch.setattr(fetch, "_check_hub", lambda where: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    suite = suite_of(tmp_path, classes("mnist"), classes("dtd"))
    with pytest.raises(DataError) as error:
        fetch_missing(suite)
    text = str(error.value)
    assert "wds_mnist: the server cannot be reached: ConnectionError: gone\n" in text
    assert "- not tried without a network: clip_benchmark:dtd" in text
    assert {one.state for one in survey(suite)} == {MISSING}
    assert [path.name for path in root.iterdir()] == [".wds_mnist.part"]  # goes on from here


def test_a_split_that_lacks_shards_is_fetched_again(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_mnist")
    (root / "wds_mnist" / "test" / "2.tar").unlink()
    suite = suite_of(tmp_path, classes("mnist", size=60))
    assert (states(suite)["mnist"].state, states(suite)["mnist"].problem) == (MISSING, "test/2.tar")
    assert fetch_missing(suite) == 1
    assert states(suite)["mnist"].state == PRESENT


def probe(name: str, **more: object) -> str:
    return classes(name, **more).replace("zero_shot", "linear_probe").replace("name: ", "name: probe-")


@pytest.mark.parametrize("probe_first", [False, True])
def test_a_split_that_is_complete_is_not_fetched_again(
    probe_first: bool, root: Path, hub: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    tasks = [classes("mnist", size=60), probe("mnist", size=60)]
    suite = suite_of(tmp_path, *(reversed(tasks) if probe_first else tasks))
    fetch_missing(suite)
    splits = sorted(pattern for _, patterns in hub for pattern in patterns if "*" in pattern)
    assert splits == ["test/*", "train/*"]
    assert {one.state for one in survey(suite)} == {PRESENT}

    hub.clear()
    (root / "wds_mnist" / "train" / "1.tar").unlink()
    kept = {path: path.stat().st_ino for path in root.glob("wds_mnist/test/*")}
    classnames = root / "wds_mnist" / "classnames.txt"
    classnames.write_text(classnames.read_text().upper())
    assert fetch_missing(suite) == 1
    assert [pattern for _, patterns in hub for pattern in patterns if "*" in pattern] == ["train/*"]
    assert {path: path.stat().st_ino for path in root.glob("wds_mnist/test/*")} == kept
    assert classnames.read_text().isupper()
    assert [path.name for path in root.iterdir()] == ["wds_mnist"]


def test_of_a_split_that_is_a_link_only_the_link_goes(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_mnist")
    (root / "wds_mnist" / "test").rename(tmp_path / "elsewhere")
    (root / "wds_mnist" / "test").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "2.tar").unlink()
    suite = suite_of(tmp_path, classes("mnist", size=60))
    assert fetch_missing(suite) == 1
    assert states(suite)["mnist"].state == PRESENT
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("public_name", ["mnist", "sugar_crepe/add_att"])
def test_a_disk_that_refuses_is_not_taken_for_the_network(
    code: int, public_name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fetch, "_check_hub", lambda where: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(shutil, "copyfileobj", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"{}"))
    with pytest.raises(DataError, match=f"the disk refuses: .*{os.strerror(code)}") as error:
        fetch.fetch(public.lookup(public_name), ("test",), root)
    assert fetch.NO_NETWORK not in str(error.value)


def test_an_answer_that_breaks_off_is_the_networks_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(*_: object, **__: object) -> None:
        raise http.client.IncompleteRead(b"")

    monkeypatch.setattr(urllib.request, "urlopen", breaks_off)
    with pytest.raises(DataError, match=rf"{fetch.NO_NETWORK}: IncompleteRead"):
        fetch.fetch(public.lookup("sugar_crepe/add_att"), ("test",), root)


def test_offline_touches_no_network(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "fetch", lambda *_: pytest.fail("the network was asked"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="not tried without a network: clip_benchmark:mnist, clip"):
        fetch_missing(suite_of(tmp_path, classes("mnist"), classes("dtd")))
    assert not root.exists()


@pytest.mark.parametrize("is_offline", [False, True])
def test_what_cannot_be_fetched_says_what_to_do(
    is_offline: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    suite = suite_of(
        tmp_path,
        '{name: w, data: "clip_benchmark:winoground", protocol: winoground, group: g}',
        classes("imagenet1q"),
    )
    with pytest.raises(DataError) as error:
        fetch_missing(suite)
    assert "by hand: hf.co/datasets/facebook/winoground" in str(error.value)
    assert "did you mean 'imagenet1k'?" in str(error.value)
    assert "not tried" not in str(error.value)


@pytest.fixture
def servers(tmp_path: Path, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SugarCrepe's files and COCO's archive behind file:// addresses."""
    folder = tmp_path / "servers"
    folder.mkdir()
    (folder / "add_att.json").write_text(json.dumps(ENTRIES))
    with zipfile.ZipFile(folder / "val2017.zip", "w") as archive:
        archive.writestr("val2017/a.jpg", make_picture(0, kind="jpg").data)
        archive.writestr("val2017/b.jpg", make_picture(1, kind="jpg").data)
    monkeypatch.setattr(fetch, "SUGAR_CREPE_URL", f"{folder.as_uri()}/{{subset}}.json")
    monkeypatch.setattr(fetch, "COCO_URL", f"{folder.as_uri()}/val2017.zip")
    return folder


def sugar_crepe(folder: Path) -> Suite:
    data = "clip_benchmark:sugar_crepe/add_att"
    return suite_of(folder, f'{{name: s, data: "{data}", protocol: compositional, group: g, size: 2}}')


def test_sugarcrepe_is_fetched_and_runs(root: Path, servers: Path, tiny: Clip, tmp_path: Path) -> None:
    suite = sugar_crepe(tmp_path)
    assert fetch_missing(suite) == 1
    assert sorted(path.name for path in (root / "sugar_crepe").rglob("*")) == [
        "a.jpg",
        "add_att.json",
        "b.jpg",
        "val2017",
    ]
    assert [path.name for path in root.iterdir()] == ["sugar_crepe"]
    report = run(tiny, suite, tmp_path / "out")
    assert (report.scores[0].n, report.num_images, report.num_texts) == (2, 1, 4)
    assert report.scores[0].notes == []


def test_a_damaged_archive_leaves_nothing_to_be_counted(root: Path, servers: Path, tmp_path: Path) -> None:
    content = (servers / "val2017.zip").read_bytes()
    (servers / "val2017.zip").write_bytes(content[: len(content) // 2])
    suite = sugar_crepe(tmp_path)
    with pytest.raises(DataError, match="the archive cannot be unpacked"):
        fetch_missing(suite)
    assert states(suite)["sugar_crepe/add_att"].state == MISSING
    (servers / "val2017.zip").write_bytes(content)
    assert fetch_missing(suite) == 1


@pytest.mark.parametrize("linked", [False, True])
def test_pictures_that_are_missing_are_fetched(
    linked: bool, root: Path, servers: Path, tmp_path: Path
) -> None:
    pictures = root / "sugar_crepe" / "val2017"
    pictures.mkdir(parents=True)
    if linked:
        pictures = pictures.rename(tmp_path / "elsewhere")
        (root / "sugar_crepe" / "val2017").symlink_to(pictures)
    (pictures / "b.jpg").write_bytes(b"")
    suite = sugar_crepe(tmp_path)
    assert fetch_missing(suite) == 1
    assert states(suite)["sugar_crepe/add_att"].state == PRESENT
    assert pictures.exists()


def test_pictures_that_are_there_are_not_fetched(root: Path, servers: Path, tmp_path: Path) -> None:
    suite = sugar_crepe(tmp_path)
    fetch_missing(suite)
    (servers / "val2017.zip").unlink()
    (root / "sugar_crepe" / "add_att.json").unlink()
    assert fetch_missing(suite) == 1


def test_an_archive_that_finds_no_room_is_kept(
    root: Path, servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    suite = sugar_crepe(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", full)
        with pytest.raises(DataError, match="the disk refuses: OSError"):
            fetch_missing(suite)
    (servers / "val2017.zip").unlink()
    assert fetch_missing(suite) == 1


def test_pairs_that_cannot_be_read_are_not_kept(root: Path, servers: Path, tmp_path: Path) -> None:
    content = (servers / "add_att.json").read_text()
    (servers / "add_att.json").write_text("<html>")
    suite = sugar_crepe(tmp_path)
    with pytest.raises(DataError, match="not a SugarCrepe file"):
        fetch_missing(suite)
    (servers / "add_att.json").write_text(content)
    assert fetch_missing(suite) == 1


# ------------------------------------------------------------------------------------------------- guard


def run(tiny: Clip, suite: Suite, out: Path) -> Scores:
    return evaluate(tiny, suite, out=out)


@pytest.mark.parametrize(
    ("folder", "name", "protocol"),
    [
        ("classes", "mnist", "zero_shot"),
        ("retrieval", "flickr8k", "retrieval"),
    ],
)
def test_a_wrong_size_marks_every_score(
    folder: str, name: str, protocol: str, root: Path, data: Path, tiny: Clip, tmp_path: Path
) -> None:
    shutil.copytree(data / folder, root / public.lookup(name).folder)
    task = f'name: t, data: "clip_benchmark:{name}", protocol: {protocol}, group: g'
    marked = run(tiny, suite_of(tmp_path, f"{{{task}}}"), tmp_path / "out")
    note = f"60 test items where the set has {public.lookup(name).size:,}: "
    assert all(any(text.startswith(note) for text in score.notes) for score in marked.scores)
    assert marked.groups["g"].marked == ("t",)
    right = run(tiny, suite_of(tmp_path, f"{{{task}, size: 60}}"), tmp_path / "out")
    assert not any("test items where" in text for score in right.scores for text in score.notes)


def test_what_was_asked_with_is_on_record(root: Path, data: Path, tiny: Clip, tmp_path: Path) -> None:
    shutil.copytree(data / "classes", tmp_path / "classes")
    suite = suite_of(tmp_path, "{name: t, data: classes, protocol: zero_shot, group: g}")
    first = run(tiny, suite, tmp_path / "out")
    assert first.activations == ("GELU",)
    assert first.protocols["t"] == {"split": "test"}
    assert first.architecture == tiny.model_cfg
    assert first.environment["precision"] == "float32"
    assert first.environment["torchvision"] == version("torchvision")
    assert set(first.files["t"]) == {"classnames.txt", "zeroshot_classification_templates.txt"}
    (tmp_path / "classes" / "zeroshot_classification_templates.txt").write_text("ein Foto von {c}.\n")
    second = run(tiny, suite, tmp_path / "out")
    assert first.files["t"]["classnames.txt"] == second.files["t"]["classnames.txt"]
    templates = "zeroshot_classification_templates.txt"
    assert first.files["t"][templates] != second.files["t"][templates]


def test_a_sample_is_counted_as_it_is_read(data: Path) -> None:
    for folder in ("classes", "retrieval"):
        assert evalset.count_split(data / folder) == len(list(evalset.read_split(data / folder))) == 60


def test_calibration_takes_the_public_set_where_a_folder_bears_its_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data / "classes", tmp_path / "stl10")
    assert calibration.suite_of("stl10").tasks[0].data == "clip_benchmark:stl10"
    assert calibration.suite_of("./stl10").tasks[0].data == str(tmp_path / "stl10")
