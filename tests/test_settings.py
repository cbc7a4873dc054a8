"""Where the pages are and what `extra.aero` says."""

import os

import pytest
from aerodocs.problems import UsageError
from aerodocs.settings import Settings, find_course, load, settings_of


def test_everything_is_optional():
    assert settings_of({}) == settings_of({"extra": None}) == settings_of({"extra": {"aero": None}}) == Settings()


def test_values_are_lines_of_text():
    data = {"site_name": "Khóa", "exclude_docs": "nhap/\n", "extra": {"aero": {"author": " Ai ", "motto": "Lời.", "year": 2026}}}
    assert settings_of(data) == Settings(site_name="Khóa", author="Ai", motto="Lời.", year="2026", exclude="nhap/\n")


@pytest.mark.parametrize(
    "aero, said",
    [
        ({"year": True}, "extra.aero.year"),
        ({"year": 2026.5}, "extra.aero.year"),
        ({"author": ["a"]}, "extra.aero.author"),
        ({"motto": "hai\ndòng"}, "extra.aero.motto"),
        (["author"], "extra.aero"),
        ("Pixibox", "extra.aero"),
    ],
)
def test_a_wrong_value_is_named(aero, said):
    with pytest.raises(UsageError, match=f"^m.yml: {said}: "):
        settings_of({"extra": {"aero": aero}}, "m.yml")


@pytest.mark.parametrize("text", [b"", b"- a\n", b"a: [", b"a: \xff\n", b"a: 2024-99-99\n", b"a: !!int x\n"])
def test_a_configuration_that_cannot_be_read(tmp_path, text):
    file = tmp_path / "mkdocs.yml"
    file.write_bytes(text)
    with pytest.raises(UsageError, match="mkdocs.yml: "):
        load(file)


def test_tags_of_mkdocs_mean_nothing(tmp_path):
    file = tmp_path / "mkdocs.yml"
    file.write_text("a: !!python/name:os.system\nb: !ENV [X, 1]\nc: !!python/object/apply:os.getcwd { kwds: { x: 1 } }\nd: 2\n")
    assert load(file) == {"a": None, "b": None, "c": None, "d": 2}


@pytest.fixture
def site(tmp_path):
    (tmp_path / "trang").mkdir()
    (tmp_path / "docs" / "sau").mkdir(parents=True)
    (tmp_path / "mkdocs.yml").write_text("docs_dir: trang\nextra: {aero: {author: Ai}}\n", encoding="utf-8")
    return tmp_path


def test_without_docs_the_configuration_says_where(site):
    assert find_course(None, site) == (site / "trang", Settings(author="Ai"))


def test_given_docs_take_the_configuration_that_has_them(site, monkeypatch):
    assert find_course(site / "trang", site.parent)[1] == Settings(author="Ai")
    monkeypatch.chdir(site)
    assert find_course(type(site)("trang"), site)[1] == Settings(author="Ai")


@pytest.mark.parametrize("other", ["docs", "docs/sau"])
def test_given_docs_of_nobody_take_none(site, other):
    assert find_course(site / other, site)[1] == Settings()


def test_the_nearest_configuration_counts(site):
    inner = site / "trang"
    (inner / "docs").mkdir()
    (inner / "mkdocs.yml").write_text("extra: {aero: {author: Khác}}\n", encoding="utf-8")
    assert find_course(inner / "docs", site)[1] == Settings(author="Khác")


@pytest.mark.parametrize("docs", [None, "khong_co", "mkdocs.yml"])
def test_no_such_folder(site, docs):
    os.rmdir(site / "trang")
    with pytest.raises(UsageError, match="không phải là thư mục"):
        find_course(docs and site / docs, site)


def test_no_configuration_here(tmp_path):
    with pytest.raises(UsageError, match="không thấy .*mkdocs.yml; .*--docs"):
        find_course(None, tmp_path)
