"""Earlier examinations are looked for in an archive that is not believed: another patient, a part, silence, rubbish cost a sentence."""

import contextlib
import json
import socket
import threading
import time
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from node import audit_trail
from node.copies import Copies
from node.listener import listen
from node.priors import PriorStage, Search
from node.service import serve
from node.settings import Destination, Listener, Priors, Sender, Settings, Storage
from node.spool import Spool

NEW, FIRST, SECOND = "1.2.3.2026", "1.2.3.20250503", "1.2.3.20251103"
WHO = {"PatientName": "Secret^Patient", "PatientID": "SECRET1", "PatientBirthDate": "19600101", "PatientSex": "M"}
NOT_GIVEN = "The archive pacs was asked for earlier examinations: {}. What it has is not in this report."


@pytest.fixture(scope="session")
def reports(scanner, result_study, tmp_path_factory):
    """The coded reports of two earlier examinations."""
    made = []
    for uid in (FIRST, SECOND):
        case = result_study.case(scanner, **{**WHO, "StudyInstanceUID": uid, "StudyDate": uid[-8:]})
        folder = tmp_path_factory.mktemp("answer") / uid
        result_study.write_objects(case, folder)
        made.append(dcmread(next(folder.glob("9010_*"))))
    return made


@pytest.fixture
def images(mr):
    """The images of an examination of which there is no report: two series of three."""
    def make(uid="1.2.3.20240101", **tags):
        tags = {**WHO, "StudyDate": "20240101", **tags}
        return [mr(uid, 10 * series + number, SeriesInstanceUID=f"{uid}.{series}", SeriesNumber=series, **tags)
                for series in (1, 2) for number in (1, 2, 3)]  # fmt: skip
    return make


@pytest.fixture
def archive(peer_server, archive_peer):
    """Starts an archive; every one ends."""
    started = []

    def start(objects, **more):
        started.append(archive_peer.Archive(peer_server, objects, **more))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()


@pytest.fixture
def new_study(tmp_path, mr):
    """The new study, in the spool of the node."""
    folder = Spool(tmp_path / "storage").studies_folder / NEW
    folder.mkdir()

    def make(**tags):
        mr(NEW, **{**WHO, "StudyDate": "20260601", **tags}).save_as(folder / "1.dcm", enforce_file_format=True)
        return folder
    return make


@pytest.fixture
def settings(tmp_path):
    def make(port, retrieve="", url="", **rules):
        peer = Destination("pacs", "ARCHIVE", "127.0.0.1", port, retrieve=retrieve) if not url else Destination("pacs", url=url)
        return Settings(priors=Priors(**{"archive": "pacs", "wait_s": 20.0, **rules}), sender=Sender(timeout_s=5.0),
                        storage=Storage(tmp_path / "storage", 0.0), destination=(peer,))  # fmt: skip
    return make


def found_by(settings, folder):
    """What a search finds: the studies of the folders, and what is said."""
    found = Search(settings, folder).run()
    assert found.is_whole and len(found.said) == len(set(found.said))
    assert not any(word in sentence for sentence in found.said for word in ("SECRET1", "Secret", "19600101"))
    return [Path(one).name for one in found.folders], found.said, found


@pytest.mark.parametrize("retrieve", ["", "get"])
def test_our_reports_come_by_c_get_the_latest_first_and_only_once(archive, reports, new_study, settings, retrieve):
    peer = archive(reports)
    rules, folder = settings(peer.port, retrieve), new_study()
    names, said, found = found_by(rules, folder)
    assert names == [SECOND, FIRST] and said == []
    assert found.fetched == {uid: {"1.2.840.10008.5.1.4.1.1.88.34": 1} for uid in (FIRST, SECOND)}
    copies = Copies(rules.storage.folder)
    assert [dcmread(copies.instances(one.StudyInstanceUID)[0]) == one for one in reports] == [True, True]
    peer.asked.clear()
    names, said, found = found_by(rules, folder)
    assert names == [SECOND, FIRST] and found.fetched == {} and peer.asked == ["STUDY", "SERIES"]  # has it images of the last one by now?


def test_of_the_last_examination_the_images_come_too_and_only_once(archive, reports, images, new_study, settings):
    of_both = [image for uid in (FIRST, SECOND) for image in images(uid, StudyDate=uid[-8:])]
    peer = archive([*reports, *of_both])
    rules, folder = settings(peer.port), new_study()
    names, said, _ = found_by(rules, folder)
    assert names == [SECOND, FIRST] and said == []
    copies = Copies(rules.storage.folder)
    assert [len(copies.instances(uid)) for uid in (FIRST, SECOND)] == [1, 7]
    peer.asked.clear()
    assert found_by(rules, folder)[2].fetched == {} and peer.asked == ["STUDY"]


def moving(tmp_path, rules, started):
    """A node that listens, for what comes by C-MOVE."""
    heard = []
    copies = Copies(tmp_path / "storage")
    listener = listen(replace(rules, listener=Listener(port=0)), Spool(tmp_path / "storage"), heard.append, copies=copies)
    started.callback(listener.stop)
    return listener, heard, copies


@pytest.mark.parametrize(("retrieve", "offers"), [("move", ("find", "get", "move")), ("", ("find", "move"))])
def test_our_reports_come_by_c_move_to_the_node_and_are_no_new_study(
        archive, archive_peer, reports, images, new_study, settings, tmp_path, retrieve, offers):
    models = [{"find": archive_peer.FIND, "get": archive_peer.GET, "move": archive_peer.MOVE}[one] for one in offers]
    with contextlib.ExitStack() as started:
        peer = archive([*reports, *images()], offers=models)
        rules = settings(peer.port, retrieve, analyse_unread=True)
        listener, heard, copies = moving(tmp_path, rules, started)
        peer.nodes["BETZ"] = listener.port
        names, said, _ = found_by(rules, new_study())
        assert names == [SECOND, FIRST, "1.2.3.20240101"] and said == [] and heard == []
        assert len(copies.instances("1.2.3.20240101")) == 6 and list(copies.expected.iterdir()) == []
        assert Spool(tmp_path / "storage").studies() == [NEW]


def test_what_nobody_asked_for_is_taken_neither_as_a_copy_nor_as_a_report(
        archive, archive_peer, reports, images, new_study, settings, tmp_path, events):
    with contextlib.ExitStack() as started:
        peer = archive([*reports, *images()])
        rules = settings(peer.port)
        listener, heard, copies = moving(tmp_path, rules, started)
        ae = peer.server.ae
        for ds, originator, status in ((reports[0], None, 0x0122), (reports[0], "BETZ", 0x0124), (images()[0], "BETZ", 0x0124),
                                       (images()[0], "OTHER", 0x0000)):  # fmt: skip
            association = ae.associate("127.0.0.1", listener.port, ae_title="BETZ")
            answer = association.send_c_store(archive_peer.copy_of(ds), originator_aet=originator, originator_id=7 if originator else None)
            association.release()
            assert answer.Status == status
        assert heard == ["1.2.3.20240101"] and copies.studies() == []


def test_images_without_a_report_come_only_where_the_site_wants_them(archive, reports, images, new_study, settings):
    peer, folder = archive([*reports[:1], *images()]), new_study()
    assert found_by(settings(peer.port), folder)[0] == [FIRST]
    names, said, found = found_by(settings(peer.port, analyse_unread=True), folder)
    assert (names, said, found.fetched) == ([FIRST, "1.2.3.20240101"], [], {"1.2.3.20240101": {"1.2.840.10008.5.1.4.1.1.4": 6}})
    assert found_by(settings(peer.port, analyse_unread=True), folder)[2].fetched == {}


@pytest.mark.parametrize(("rules", "expected"), [({"most": 1}, [SECOND]), ({"years_back": 1.0}, [SECOND]), ({"years_back": 0.1}, [])])
def test_how_far_back_and_how_many(archive, reports, new_study, settings, rules, expected):
    assert found_by(settings(archive(reports).port, **rules), new_study())[0] == expected


def test_what_the_node_answered_itself_is_not_asked_for(archive, reports, new_study, settings, tmp_path):
    peer, folder = archive(reports), new_study()
    for number, ds in enumerate(reports):
        answer = tmp_path / "storage" / "outbox" / ds.StudyInstanceUID / "0123"
        answer.mkdir(parents=True)
        ds.save_as(answer / f"9010_{number}_sr.dcm", enforce_file_format=True)
    names, said, found = found_by(settings(peer.port), folder)
    assert (names, said, found.fetched, peer.asked) == ([SECOND, FIRST], [], {}, ["STUDY"])
    assert all("outbox" in one for one in found.folders)


def changed(**tags):
    def change(ds):
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        return ds
    return change


@pytest.mark.parametrize(("tags", "reason"), [
    ({"PatientBirthDate": "19700101"}, "its birth date is another one"), ({"PatientSex": "F"}, "its sex is another one"),
    ({"IssuerOfPatientID": "Elsewhere"}, "the issuer of its patient ID is another one"),
    ({"PatientID": "SECRET2"}, "its patient ID is another one"),
])  # fmt: skip
@pytest.mark.parametrize("where", ["answer", "sent"])
def test_another_patient_under_the_same_id_is_refused_in_words(archive, reports, new_study, settings, tags, reason, where, tmp_path):
    peer = archive(reports[:1], **{where: changed(**tags)})
    names, said, _ = found_by(settings(peer.port), new_study(IssuerOfPatientID="Here"))
    assert names == [] and said == [f"An examination of 2025-05-03 under the same patient ID was not used: {reason}."]
    assert Copies(tmp_path / "storage").studies() == []


def test_without_a_birth_date_in_the_objects_nothing_is_used(archive, reports, new_study, settings):
    peer = archive(reports[:1], answer=changed(PatientBirthDate=""), sent=changed(PatientBirthDate=""))
    names, said, _ = found_by(settings(peer.port), new_study())
    assert names == [] and "the birth date is not known" in said[0]


@pytest.mark.parametrize(("tags", "reason"), [
    ({"PatientID": ""}, "the examination has no patient ID that can be searched for"),
    ({"PatientID": "SECRET*"}, "the examination has no patient ID that can be searched for"),
    ({"PatientBirthDate": ""},
     "the birth date of the patient is not known, so that earlier examinations cannot be told from another person's"),
    ({"StudyDate": ""}, "the date of the examination is not known"),
])  # fmt: skip
def test_a_patient_who_cannot_be_told_apart_is_not_asked_for(archive, reports, new_study, settings, tags, reason):
    peer = archive(reports)
    assert found_by(settings(peer.port), new_study(**tags))[:2] == ([], [f"No earlier examinations were looked for: {reason}."])
    assert peer.asked == []


def test_an_object_of_another_study_than_was_asked_for_is_not_taken(archive, reports, new_study, settings, tmp_path):
    peer = archive(reports[:1], sent=changed(StudyInstanceUID="1.2.3.666"))
    names, said, _ = found_by(settings(peer.port), new_study())
    assert names == [] and "did not come whole" in said[-1] and Copies(tmp_path / "storage").studies() == []


def test_a_series_of_which_only_a_part_comes_is_none(archive, images, new_study, settings, tmp_path):
    lost = images()[4].SOPInstanceUID
    peer = archive(images(), sent=lambda ds: None if ds.SOPInstanceUID == lost else ds)
    names, said, _ = found_by(settings(peer.port, analyse_unread=True), new_study())
    assert names == ["1.2.3.20240101"]
    assert said == ["Of an earlier examination only a part could be fetched from the archive pacs: 1 of 2 series did not come whole."]
    assert len(Copies(tmp_path / "storage").instances("1.2.3.20240101")) == 3


def test_our_own_images_in_an_archive_are_no_examination(archive, images, new_study, settings):
    own = [changed(SeriesDescription="Betz maps v0.1 RESEARCH", SeriesNumber=9030)(ds) for ds in images()]
    assert found_by(settings(archive(own).port, analyse_unread=True), new_study())[:2] == ([], [])


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0x0122])
def test_an_archive_that_refuses_the_query_is_named(archive, reports, new_study, settings, status):
    names, said, found = found_by(settings(archive(reports, status=status).port), new_study())
    assert names == [] and said == [NOT_GIVEN.format("it did not give what it was asked for")]
    assert f"{status:04X}" in found.trouble[0]


@pytest.mark.parametrize("offers", [("find",), ()])
def test_an_archive_that_offers_too_little_is_named(archive, archive_peer, reports, new_study, settings, offers):
    peer = archive(reports, offers=[archive_peer.FIND for _ in offers])
    names, said, _ = found_by(settings(peer.port), new_study())
    assert names == [] and said[0] == NOT_GIVEN.format("it refused")


def raw(answer):
    """A peer that takes every connection and then does as it likes; returns its port and how to end it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return server


def silent(connection):
    with connection, contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def rubbish(connection):
    with connection, contextlib.suppress(OSError):
        connection.recv(4096)
        connection.sendall(b"GARBAGE" * 100)
        time.sleep(0.2)


def hang_up(connection):
    connection.close()


@pytest.mark.parametrize("answer", [silent, rubbish, hang_up])
def test_an_archive_that_is_silent_or_talks_rubbish_costs_a_bounded_time_and_a_sentence(new_study, settings, answer):
    with raw(answer) as server:
        rules = replace(settings(server.getsockname()[1]), sender=Sender(timeout_s=1.0))
        names, said, _ = found_by(rules, new_study())
    assert names == [] and said == [NOT_GIVEN.format("it cannot be reached, did not answer, or did not let the node in")]


def test_an_archive_that_is_away_is_named(new_study, settings, free_port):
    assert "it cannot be reached" in found_by(settings(free_port), new_study())[1][0]


@pytest.mark.parametrize(("status", "what"), [
    (503, "it cannot be reached, did not answer, or did not let the node in"),
    (401, "it cannot be reached, did not answer, or did not let the node in"),
    (500, "it did not give what it was asked for"), (405, "it refused"), (501, "it refused"),
])  # fmt: skip
def test_a_dicomweb_service_that_fails_is_named(dicomweb_service, new_study, settings, status, what):
    service = dicomweb_service.Service()
    service.query_status = status
    try:
        names, said, found = found_by(settings(0, url=service.url), new_study())
    finally:
        service.stop()
    assert names == [] and said == [NOT_GIVEN.format(what)] and "SECRET1" not in " ".join(found.trouble)


def no_json(connection):
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: 7\r\n\r\nSECRET1")
        time.sleep(0.2)


def no_list(connection):
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        said = b'[{"0020000D": {"vr": "UI", "Value": [{"SECRET1": 7}]}}, 3, {"0020000D": 5}, null]'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        time.sleep(0.2)


@pytest.mark.parametrize(("answer", "expected"), [
    (no_json, [NOT_GIVEN.format("it did not give what it was asked for")]), (no_list, []), (silent, None), (hang_up, None),
])  # fmt: skip
def test_a_dicomweb_service_that_talks_rubbish_or_nothing_costs_a_sentence(new_study, settings, answer, expected):
    with raw(answer) as server:
        rules = replace(settings(0, url=f"http://127.0.0.1:{server.getsockname()[1]}/dicom-web"), sender=Sender(timeout_s=1.0))
        names, said, found = found_by(rules, new_study())
    expected = [NOT_GIVEN.format("it cannot be reached, did not answer, or did not let the node in")] if expected is None else expected
    assert names == [] and said == expected and "SECRET1" not in " ".join(found.trouble)


def test_matches_that_make_no_sense_are_no_matches(archive, reports, new_study, settings):
    for change in ({"StudyDate": "yesterday"}, {"StudyInstanceUID": "../../etc"}, {"StudyInstanceUID": ""}, {"StudyDate": "20990101"}):
        def answer(match, change=change):
            return changed(**change)(match) if match.QueryRetrieveLevel == "STUDY" else match
        assert found_by(settings(archive(reports, answer=answer).port), new_study())[:2] == ([], [])


def config(tmp_path, port, wait_s, retrieve=""):
    (tmp_path / "site.toml").write_text(
        f'[listener]\nport = 0\n[study]\nquiet_s = 0.2\n'
        f'[storage]\nfolder = "{tmp_path / "storage"}"\nminimum_free_gib = 0\n[priors]\narchive = "pacs"\nwait_s = {wait_s}\n'
        f'[[destination]]\nname = "pacs"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\nretrieve = "{retrieve}"\n')
    from node.settings_file import read_settings
    return read_settings(tmp_path / "site.toml")


def test_the_stage_ends_a_search_that_takes_too_long_and_says_so(new_study, tmp_path, events):
    folder = new_study()
    with raw(silent) as server:
        rules = config(tmp_path, server.getsockname()[1], 1)
        stage = PriorStage(rules, Copies(tmp_path / "storage"))
        (stage.copies.expected / f"{FIRST}@{NEW}").touch()
        found = stage(folder, tmp_path, lambda: False)
    assert found.folders == [] and found.said == [NOT_GIVEN.format("it did not answer within 1 s")]
    assert list(stage.copies.expected.iterdir()) == []
    told = json.dumps(events())
    assert "priors_failed" in told and "SECRET1" not in told and "19600101" not in told


def test_the_stage_finds_in_its_child_what_the_search_finds(archive, reports, new_study, tmp_path, events):
    rules = config(tmp_path, archive(reports).port, 60)
    found = PriorStage(rules, Copies(tmp_path / "storage"))(new_study(), tmp_path, lambda: False)
    assert [Path(one).name for one in found.folders] == [SECOND, FIRST] and found.said == []
    told = events("priors_looked_for")[0]
    assert (told["study"], told["folders"], told["fetched"]) == (NEW, 2, 2)


def keys_of(said):
    """What each query of the audit trail asked for, and how it ended."""
    from pynetdicom.dsutils import decode

    sets = [(decode(BytesIO(one.query), one.details["TransferSyntax"] == "1.2.840.10008.1.2", True), one) for one in said if one.query]
    return [(keys.QueryRetrieveLevel, keys.get("PatientID") or keys.StudyInstanceUID, one.outcome) for keys, one in sets]


def test_the_audit_trail_of_the_node_has_what_the_child_asked_and_got_and_no_log_has_it(
        archive, reports, new_study, tmp_path, trail, kept, events):
    trail()
    peer = archive(reports)
    PriorStage(config(tmp_path, peer.port, 60), Copies(tmp_path / "storage"))(new_study(), tmp_path, lambda: False)
    audit_trail.end()
    said = kept()
    assert keys_of(said) == [("STUDY", "SECRET1", "0"), ("SERIES", SECOND, "0"), ("SERIES", FIRST, "0")]
    assert [one.event for one in said] == ["110112"] * 3 + ["110104"] * 2
    assert {one.roles["110152"].get("UserID") for one in said[:3]} == {"ARCHIVE"}
    times = [one.xml.find("EventIdentification").get("EventDateTime") for one in said[:3]]
    assert times == sorted(times)
    assert "SECRET1" not in json.dumps(events()) and not any("Secret" in str(one) for one in said)


def test_a_query_that_was_not_answered_when_the_search_was_ended_is_in_the_audit_trail(archive, reports, new_study, tmp_path, trail, kept):
    trail()
    ended = threading.Event()
    peer = archive(reports, answer=lambda match: match if match.QueryRetrieveLevel == "STUDY" else ended.wait(60) and None)
    stage = PriorStage(config(tmp_path, peer.port, 60), Copies(tmp_path / "storage"))
    stage(new_study(), tmp_path, lambda: peer.asked == ["STUDY", "SERIES"])
    ended.set()
    audit_trail.end()
    assert keys_of(kept()) == [("STUDY", "SECRET1", "0"), ("SERIES", SECOND, "4")]
    assert [one.why for one in kept()] == ["", "no answer came before the search was ended"]


def test_a_search_over_the_web_notes_its_queries(dicomweb_service, new_study, settings):
    service = dicomweb_service.Service()
    try:
        found = found_by(settings(0, url=service.url), new_study())[2]
    finally:
        service.stop()
    [one] = found.asked
    assert (one.query.subject, one.failure) == (f"{service.url}/studies", "") and one.query.content.decode().endswith(service.searched[0])
    assert "PatientID=SECRET1" in service.searched[0]


def test_no_archive_in_the_settings_asks_nobody(new_study, tmp_path):
    stage = PriorStage(Settings(storage=Storage(tmp_path / "storage", 0.0)), Copies(tmp_path / "storage"))
    found = stage(new_study(), tmp_path, lambda: False)
    assert (found.folders, found.said) == ([], [])


def test_copies_that_nobody_used_for_long_go(archive, reports, new_study, settings, tmp_path):
    found_by(settings(archive(reports).port), new_study())
    copies, now = Copies(tmp_path / "storage"), time.time()
    assert copies.forget(30, now + 29 * 86400) == [] and copies.forget(0, now + 1e9) == []
    assert copies.forget(30, now + 31 * 86400) == [FIRST, SECOND] and copies.studies() == []


def test_nothing_is_fetched_onto_a_full_disk(archive, reports, new_study, settings, tmp_path):
    rules = settings(archive(reports).port)
    rules = replace(rules, storage=Storage(tmp_path / "storage", 1e6))
    names, said, _ = found_by(rules, new_study())
    assert names == [] and Copies(tmp_path / "storage").studies() == [] and "did not come whole" in said[-1]


@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_a_node_asks_before_it_analyses_and_its_report_names_what_came(archive, reports, mr, tmp_path, soon, capfd, retrieve):
    """The whole way: a study comes, an archive is asked, the reports come, the answer names them; no log knows the patient."""
    other = {"StudyInstanceUID": "1.2.3.20240505", "SeriesInstanceUID": "1.2.3.20240505.1", "SOPInstanceUID": "1.2.3.20240505.1.1"}
    stranger = changed(**other, StudyDate="20240505", PatientBirthDate="19700101")(deepcopy(reports[0]))
    peer = archive([*reports, stranger])
    rules, port, stop = config(tmp_path, peer.port, 60, retrieve), [], threading.Event()
    node = threading.Thread(target=serve, args=(rules, stop, port.append))
    node.start()
    try:
        soon(lambda: port)
        peer.nodes["BETZ"] = port[0]
        association = peer.server.ae.associate("127.0.0.1", port[0], ae_title="BETZ")
        assert association.send_c_store(mr(NEW, **{**WHO, "StudyDate": "20260601"})).Status == 0x0000
        association.release()
        outbox = tmp_path / "storage" / "outbox" / NEW
        report = json.loads(soon(lambda: list(outbox.glob("*/report.json")), 60.0)[0].read_text())
    finally:
        stop.set()
        node.join(30)
    assert [(one["date"], one["values"]) for one in report["earlier"]["examinations"]] == [("2025-05-03", 11), ("2025-11-03", 11)]
    assert report["earlier"]["notes"] == [
        "An examination of 2024-05-05 under the same patient ID was not used: its birth date is another one."]
    written = capfd.readouterr().err
    logs = [path.read_text() for path in (tmp_path / "storage" / "log").iterdir()]
    assert "priors_looked_for" in written
    assert not any(word in text for text in (written, *logs) for word in ("SECRET1", "Secret", "19600101", "19700101", "2024-05-05"))
