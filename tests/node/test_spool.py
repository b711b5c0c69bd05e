from __future__ import annotations

import errno
import os
import shutil
import zlib

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.errors import SpoolError
from node.folder_sync import FolderSyncs, sync_folder
from node.incoming import data_set_offset
from node.spool import _WANTED, CANNOT_UNDERSTAND, NOT_AS_ANNOUNCED, OUT_OF_RESOURCES, Placed, Spool, is_uid
from node.wholeness import NotWhole, texts_of


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path)


@pytest.fixture
def put(spool, encoded):
    """Store a data set as the listener does, in chunks; `data` replaces its bytes."""
    def put(ds, syntax=ExplicitVRLittleEndian, data=None, sop_class=None, sop_instance=None):
        part = spool.begin(sop_class or ds.SOPClassUID, sop_instance or ds.SOPInstanceUID, syntax)
        data = encoded(ds) if data is None else data
        for start in range(0, len(data), 100):
            part.write(data[start:start + 100])
        return spool.commit(part)
    return put


def _everything(spool):
    return sorted(path for path in spool.incoming.parent.rglob("*") if path.is_file())


def test_an_instance_is_a_whole_file_under_its_uid(spool, put, mr):
    ds = mr()
    stored = put(ds)
    path = spool.folder_of("1.2.3.4") / f"{ds.SOPInstanceUID}.dcm"
    assert stored.placed is Placed.NEW and stored.study_instance_uid == "1.2.3.4"
    read = dcmread(path)
    assert read == ds and read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert _everything(spool) == [path]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_is_understood(spool, put, mr, encoded, syntax):
    ds = mr()
    data = encoded(ds, implicit=syntax == ImplicitVRLittleEndian, little=syntax != ExplicitVRBigEndian)
    if syntax == DeflatedExplicitVRLittleEndian:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    assert put(ds, syntax, data).placed is Placed.NEW
    assert dcmread(spool.instances("1.2.3.4")[0]).PatientID == ds.PatientID
    with pytest.raises(SpoolError) as error:
        put(mr(number=2), syntax, data[:-10])
    assert error.value.status == CANNOT_UNDERSTAND


def test_an_identical_repeat_changes_nothing(spool, put, mr):
    put(mr())
    before = spool.instances("1.2.3.4")[0].stat()
    assert put(mr()).placed is Placed.REPEAT
    after = spool.instances("1.2.3.4")[0].stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns) and len(_everything(spool)) == 1


def test_another_content_under_the_same_uid_is_kept_and_overwrites_nothing(spool, put, mr):
    put(mr())
    before = spool.instances("1.2.3.4")[0].read_bytes()
    assert put(mr(seed=1)).placed is Placed.CONFLICT
    assert spool.instances("1.2.3.4")[0].read_bytes() == before
    assert dcmread(spool.conflicts("1.2.3.4")[0]).PixelData == mr(seed=1).PixelData
    assert put(mr(seed=1)).placed is Placed.REPEAT and len(spool.conflicts("1.2.3.4")) == 1


def test_a_cut_inside_an_element_is_found(spool, put, mr, encoded):
    """A cut between two elements leaves a shorter data set that is whole; every other one is refused."""
    ds = mr(study="1.2.3.4")
    data = encoded(ds)
    ends = {len(encoded(ds[:element.tag])) for element in ds}
    for end in sorted(set(range(0, len(data), 7)) - ends):
        with pytest.raises(SpoolError) as error:
            put(ds, data=data[:end])
        assert error.value.status == CANNOT_UNDERSTAND, end
    assert _everything(spool) == []


@pytest.mark.parametrize(("elements", "status"), [
    ({"StudyInstanceUID": "../../x"}, CANNOT_UNDERSTAND),
    ({"StudyInstanceUID": "1..2"}, CANNOT_UNDERSTAND),
    ({"StudyInstanceUID": ""}, CANNOT_UNDERSTAND),
    ({"SeriesInstanceUID": "abc"}, CANNOT_UNDERSTAND),
])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_bad_uid_never_becomes_a_path(spool, put, mr, elements, status):
    with pytest.raises(SpoolError) as error:
        put(mr(**elements))
    assert error.value.status == status and _everything(spool) == [] and list(spool.studies_folder.iterdir()) == []


def test_what_was_not_announced_is_refused(spool, put, mr):
    for announced in ({"sop_instance": "1.2.3.999"}, {"sop_class": "1.2.840.10008.5.1.4.1.1.7"}):
        with pytest.raises(SpoolError) as error:
            put(mr(), **announced)
        assert error.value.status == NOT_AS_ANNOUNCED and _everything(spool) == []


@pytest.mark.parametrize("data", [b"", b"this is no DICOM object at all, but a letter", bytes(4096), b"\xff" * 4096])
def test_what_is_no_data_set_is_refused(spool, put, mr, data):
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        with pytest.raises(SpoolError) as error:
            put(mr(), syntax, data=data)
        assert error.value.status == CANNOT_UNDERSTAND
    assert _everything(spool) == []


def test_without_room_nothing_is_damaged(tmp_path, mr, encoded):
    spool = Spool(tmp_path, minimum_free_gib=2**30)
    part = spool.begin(mr().SOPClassUID, mr().SOPInstanceUID, ExplicitVRLittleEndian)
    part.write(encoded(mr()))
    with pytest.raises(SpoolError, match="no room") as error:
        spool.commit(part)
    assert error.value.status == OUT_OF_RESOURCES and _everything(spool) == []


def test_a_disk_that_fills_while_writing_is_out_of_resources(spool, mr, encoded):
    class Full:
        def write(self, chunk):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    part = spool.begin(mr().SOPClassUID, mr().SOPInstanceUID, ExplicitVRLittleEndian)
    part._open.close()
    part._open = Full()
    part.write(encoded(mr()))
    with pytest.raises(SpoolError, match="No space left") as error:
        spool.commit(part)
    assert error.value.status == OUT_OF_RESOURCES and _everything(spool) == []


def test_a_name_that_may_not_last_is_no_success_and_new_when_it_comes_again(spool, put, mr):
    def fails(folder):
        raise OSError(errno.EIO, "Input/output error")

    put(mr(number=2))
    good, spool._syncs = spool._syncs, FolderSyncs(fails)
    for number in (1, 2):  # linked, but not known to last; a repeat
        with pytest.raises(SpoolError, match="Input/output error") as error:
            put(mr(number=number))
        assert error.value.status == OUT_OF_RESOURCES and list(spool.incoming.iterdir()) == []
    spool._syncs = good
    assert [put(mr(number=number)).placed for number in (1, 1, 2)] == [Placed.NEW, Placed.REPEAT, Placed.REPEAT]


def test_a_new_folder_that_may_not_last_is_no_success(spool, put, mr):
    def fails(folder):
        raise OSError(errno.EIO, "Input/output error")

    spool._syncs = FolderSyncs(fails)
    with pytest.raises(SpoolError):
        put(mr())
    synced = []
    spool._syncs = FolderSyncs(lambda folder: (synced.append(os.path.basename(folder)), sync_folder(folder)))
    assert put(mr()).placed is put(mr(number=2)).placed is Placed.NEW
    assert synced == ["spool", "1.2.3.4", "1.2.3.4"]


def test_a_study_that_another_program_removed_meanwhile_is_made_again(spool, put, mr):
    put(mr())
    shutil.rmtree(spool.folder_of("1.2.3.4"))
    assert put(mr(number=2)).placed is Placed.NEW and len(spool.instances("1.2.3.4")) == 1


def test_half_received_objects_are_swept(spool, tmp_path, mr):
    part = spool.begin(mr().SOPClassUID, mr().SOPInstanceUID, ExplicitVRLittleEndian)
    part.write(b"half")
    assert Spool(tmp_path).sweep() == 1 and _everything(spool) == []


def test_the_version_is_the_set_of_instances(spool, put, mr):
    put(mr(number=2))
    first = spool.version("1.2.3.4")
    put(mr(number=2))
    assert spool.version("1.2.3.4") == first
    put(mr(number=1))
    assert spool.version("1.2.3.4") != first


def test_a_removed_study_is_gone_and_may_come_again(spool, put, mr):
    put(mr())
    put(mr(seed=1))
    spool.remove("1.2.3.4")
    assert spool.studies() == [] and _everything(spool) == []
    assert put(mr()).placed is Placed.NEW


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("filling", [0, 2**16 - 700, 2**16 - 300, 2**16, 2**17])
def test_a_long_header_is_walked_to_its_end_too(spool, put, mr, encoded, implicit, filling):
    """Wherever the header ends within or behind what is read at first."""
    ds = mr()
    ds.private_block(0x29, "MAKER", create=True).add_new(1, "OB", bytes(filling - filling % 2))
    syntax, data = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian, encoded(ds, implicit=implicit)
    for cut in (1, 60, 131):
        with pytest.raises(SpoolError) as error:
            put(ds, syntax, data=data[:-cut])
        assert error.value.status == CANNOT_UNDERSTAND
    assert put(ds, syntax, data=data).placed is Placed.NEW


@pytest.mark.parametrize(("text", "valid"), [
    ("1.2.840.10008", True), ("2.25.123", True), ("", False), (".", False), ("..", False), ("1.", False), (".1", False), ("1..2", False),
    ("../x", False), ("1.2\n", False), ("1/2", False), ("1" * 65, False), ("١.٢", False),
])
def test_uids(text, valid):
    assert is_uid(text) is valid


@pytest.mark.realdata
def test_real_objects_are_whole_and_cut_ones_are_not(realdata, tmp_path):
    paths = [path for name in ("siemens_xa30_enhanced", "philips_classic_dti") for path in sorted((realdata / name).rglob("*.dcm"))[:5]]
    assert paths
    for path in paths:
        syntax, offset = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID), data_set_offset(path)
        assert len(texts_of(path, offset, syntax, _WANTED)) == 4
        (tmp_path / "cut").write_bytes(path.read_bytes()[:-1])
        with pytest.raises(NotWhole):
            texts_of(tmp_path / "cut", offset, syntax, _WANTED)
