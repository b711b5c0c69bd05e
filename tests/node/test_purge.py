"""What is removed by itself, and what never is; a removal that is cut off, or that an instance comes into."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from node.check import checks
from node.errors import BetzError
from node.purge import Purge
from node.records import ANSWERED, DELIVERED, PARKED, PENDING, PROVEN, READY, RECEIVING, STORED, SUPERSEDED
from node.settings import Destination
from node.spool import EMPTY
from node.status import purge, resend

STUDY, DAY_S = "1.2.3.4", 86400.0
PEERS = Destination("pacs", "PACS", "127.0.0.1", 104, query=True), Destination("archive", url="https://127.0.0.1/dicom-web", query=True)


@pytest.fixture
def purging(site):
    """A node whose answer is due at both destinations, and what it removes after 30 days."""
    site.answer(*PEERS)

    def purging(keep_days=30.0, peers=PEERS):
        settings = site.settings(PEERS[0])
        settings = replace(settings, destination=peers, storage=replace(settings.storage, keep_days=keep_days))
        return Purge(settings, site.journal, site.spool, site.outbox, lambda: site.now)
    return purging


def _all(site, state, *but):
    for row in site.journal.results_of(STUDY):
        if row.destination not in but:
            site.journal.sent(row, state)


def _is_there(site):
    return bool(site.spool.instances(STUDY)), any(site.outbox.folder.rglob("*.dcm")), site.journal.study(STUDY) is not None


def test_what_is_proven_everywhere_is_removed_when_it_is_old_enough(site, purging):
    _all(site, PROVEN)
    site.now += 29 * DAY_S
    assert purging().step() == [] and _is_there(site) == (True, True, True)
    site.now += 1.1 * DAY_S
    assert purging(keep_days=0.0).step() == [], "0 is never"
    assert purging().step() == [STUDY] and _is_there(site) == (False, False, False)
    assert not any((site.spool.incoming).iterdir()) and site.journal.results_of(STUDY) == []


def test_the_node_looks_by_itself(site, purging, soon):
    _all(site, PROVEN)
    site.now += 31 * DAY_S
    stop = threading.Event()
    thread = threading.Thread(target=purging().serve, args=(stop,))
    thread.start()
    try:
        soon(lambda: _is_there(site) == (False, False, False))
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    purging(keep_days=0.0).serve(threading.Event())  # 0 is never: it returns


@pytest.mark.parametrize("state", [PENDING, STORED, PARKED, DELIVERED])
def test_what_one_destination_has_not_proven_stays(site, purging, state):
    _all(site, PROVEN, "archive")
    _all(site, state, "pacs")
    site.now += 1000 * DAY_S
    assert purging().step() == [] and _is_there(site) == (True, True, True)
    assert (purge(purging().settings, 0)[0].startswith("1 studies removed")) is False, "not by hand either: a proof is asked for"


def test_what_a_destination_of_today_never_got_stays(site, purging):
    _all(site, PROVEN)
    site.now += 1000 * DAY_S
    another = Destination("third", "THIRD", "127.0.0.1", 104, query=True)
    assert purging(peers=(*PEERS, another)).step() == [] and purging(peers=()).step() == []


def test_an_answer_that_was_replaced_does_not_count(site, purging):
    old = site.journal.results_of(STUDY)[0]
    _all(site, PROVEN)
    site.journal.sent(replace(old, state=PROVEN), SUPERSEDED)
    site.now += 31 * DAY_S
    assert purging().step() == [STUDY]


def test_an_image_after_the_answer_keeps_its_study(site, purging, mr):
    _all(site, PROVEN)
    mr(number=2).save_as(site.spool.folder_of(STUDY) / "2.dcm", enforce_file_format=True)
    site.now += 31 * DAY_S
    assert purging().step() == [] and len(site.spool.instances(STUDY)) == 2


def test_an_image_in_the_moment_of_the_removal_keeps_its_study(site, mr):
    assert site.spool.remove(STUDY, "another version") is False
    assert len(site.spool.instances(STUDY)) == 1 and not any(site.spool.incoming.iterdir())
    assert site.spool.remove(STUDY, EMPTY) is False and len(site.spool.instances(STUDY)) == 1
    assert site.spool.remove(STUDY, site.spool.version(STUDY)) and site.spool.instances(STUDY) == []


def test_a_study_that_receives_meanwhile_is_not_forgotten(site):
    site.journal.stored(STUDY)
    site.journal.forget(STUDY, DELIVERED)
    assert site.journal.study(STUDY).state == RECEIVING


def test_a_removal_that_was_cut_off_before_it_was_decided_is_undone_at_start(site, mr):
    site.spool.folder_of(STUDY).rename(site.spool.incoming / f"{STUDY}.leaving")
    site.spool.folder_of(STUDY).mkdir()
    mr(number=2).save_as(site.spool.folder_of(STUDY) / "2.dcm", enforce_file_format=True)
    site.spool.sweep()
    assert [path.name for path in site.spool.instances(STUDY)] == ["1.dcm", "2.dcm"] and not any(site.spool.incoming.iterdir())


def test_a_removal_that_was_cut_off_after_that_is_finished(site, purging):
    _all(site, PROVEN)
    site.spool.folder_of(STUDY).rename(site.spool.incoming / "1.2.gone")
    assert site.journal.recover(site.spool) == [] and site.journal.study(STUDY).state == DELIVERED
    site.spool.sweep()
    assert not any(site.spool.incoming.iterdir())
    site.now += 31 * DAY_S
    assert purging().step() == [STUDY] and _is_there(site) == (False, False, False)


def test_conflicting_objects_keep_their_study(site, purging):
    _all(site, PROVEN)
    (site.spool.conflicts_folder / STUDY).mkdir()
    (site.spool.conflicts_folder / STUDY / "1.2.abc.dcm").write_bytes(b"")
    site.now += 31 * DAY_S
    assert purging().step() == [] and _is_there(site) == (True, True, True)


def test_the_check_says_what_keep_days_will_do(site, purging):
    silent = replace(PEERS[0], query=False)
    said = {sentence: right for right, sentence in checks(purging(peers=(silent,)).settings)}
    assert any("removes nothing, as pacs is asked for no proof" in sentence and not right for sentence, right in said.items())
    said = {sentence: right for right, sentence in checks(purging(peers=()).settings)}
    assert any("no destination gives a proof" in sentence and not right for sentence, right in said.items())


def test_resend_to_one_destination_leaves_the_other_alone(site, purging):
    settings = purging().settings
    _all(site, PROVEN, "archive")
    _all(site, PARKED, "pacs")
    with pytest.raises(BetzError, match="no destination 'other' in the settings; there is: archive, pacs"):
        resend(settings, STUDY, "other")
    assert resend(settings, STUDY, "archive")[0].startswith("2 objects") and site.journal.study(STUDY).state == ANSWERED
    assert set(site.states("archive").values()) == {PENDING} and set(site.states("pacs").values()) == {PROVEN}
    assert resend(settings, STUDY, "pacs")[0].startswith("2 objects") and set(site.states("pacs").values()) == {PENDING}
    site.journal.move(STUDY, (ANSWERED,), READY)
    with pytest.raises(BetzError, match="is ready"):
        resend(settings, STUDY)
