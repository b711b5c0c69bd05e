import pytest

from analysis.examination import Patient
from analysis.reference import standing
from node.errors import SettingsError
from node.populations import COLUMNS, POPULATIONS_FILE, norms, read_norms

ROW = "thickness,left,,F,healthy people,3 T,by hand,10,2.4,60,-0.01,0.2,0.1,45,75,10.1/x"


@pytest.fixture
def read(tmp_path):
    def read(*rows: str):
        path = tmp_path / "norms.csv"
        path.write_text("\n".join(["# a comment", ",".join(COLUMNS), *rows]))
        return read_norms(path)

    return read


def test_every_shipped_norm_names_its_source_and_its_people():
    assert norms()
    for norm in norms():
        assert "10." in norm.source or "http" in norm.source
        assert norm.population and norm.field and norm.method and norm.n > 100 and norm.age_low >= 18


def test_shipped_norms_are_there_once():
    keys = [(norm.name, norm.side, norm.level, norm.sex) for norm in norms()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("sex", "side", "fifth"), [("F", "left", 2.045), ("M", "left", 2.023), ("F", "right", 2.023), ("M", "right", 1.994)]
)
def test_the_fifth_percentile_at_60_is_the_published_one(sex, side, fifth):
    (norm,) = [norm for norm in norms() if (norm.name, norm.side, norm.sex) == ("precentral_thickness", side, sex)]
    assert norm.at(60) - 1.6449 * norm.sd == pytest.approx(fifth, abs=0.015)


def test_a_woman_of_average_thickness_stands_in_the_middle():
    place = standing(norms(), "precentral_thickness", "left", 2.365, 0.1, Patient(60.0, "F"))
    assert place.z == pytest.approx(0.0) and "FreeSurfer" in place.population


def test_a_sex_that_is_not_known_hardly_matters_for_thickness():
    assert not isinstance(standing(norms(), "precentral_thickness", "right", 2.3, 0.1, Patient(60.0, None)), str)


def test_a_row_is_read_and_empty_means_either(read):
    (norm,) = read(ROW.replace("left,,F", ",,"))
    assert (norm.side, norm.sex, norm.n, norm.mean) == (None, None, 10, 2.4)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW.replace("2.4", "two"), "line 3: mean is 'two'"),
        (ROW.replace("2.4", "nan"), "line 3: mean"),
        (ROW.replace("left", "L"), "side is neither"),
        (ROW.replace(",F,", ",W,"), "sex is neither"),
        (ROW.replace("0.2", "0"), "sd must be above 0"),
        (ROW.replace("45,75", "75,45"), "age_low"),
        (ROW.replace("10.1/x", ""), "source must be there"),
        (ROW + ",more", "has 16 values"),
        ("thickness,left", "has 16 values"),
    ],
)
def test_a_wrong_row_is_named(read, row, words):
    with pytest.raises(SettingsError, match=words):
        read(row)


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "norms.csv"
    path.write_text(POPULATIONS_FILE.read_text().replace("age_mean,slope", "age,slope"))
    with pytest.raises(SettingsError, match="the columns must be"):
        read_norms(path)
