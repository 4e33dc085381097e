"""Two tiers: `make test` keeps each promise once, in five minutes; `make test-all` runs all there is.

A new test is in both. `FULL` names what the quick tier leaves out, but for what `QUICK` takes back: a folder,
a module, a test, or one case of it. The quick tier also goes less deep (`depth`), draws fewer examples, and
has its rows in SQLite alone. `pytest tests/live/test_trunk.py` runs every test of the file that it names;
with `--full` also as deep as it goes.
"""

from collections.abc import Sequence

FULL = (
    # several hosts, real calls and browsers: of each kind of these QUICK has one
    *("live/", "cluster/", "attack/"),
    "web/test_accessible.py",
    "web/test_listening.py",
    "web/test_now_live.py",
    "web/test_passkeys_in_browser.py",
    "web/test_session_end.py",
    # what several hosts share: the quick tier has one database, and of these one of each kind
    *("test_among_hosts.py", "test_board_rows.py", "test_shared_board.py", "test_shared_database.py"),
    *("test_shared_faults.py", "test_shared_reads.py", "test_two_hosts.py", "web/test_login_shared.py"),
    *("test_forgetting.py", "test_keeping.py::test_keeping_in_a_shared_database"),
    "test_words.py::test_both_databases_find_the_same",
    # what other libraries play: an issuer of logins, and whatever the document of the interface allows
    "web/test_api_attacked.py::test_whatever_is_asked",
    "web/test_oidc.py",
    # of what a receiver may do wrong one of each kind stays
    "test_sending.py::test_one_host_sends_and_another_goes_on_when_it_is_gone",
    *(
        f"test_sending.py::test_a_receiver_that_is_ill_costs_and_doubles_nothing[{how}]"
        for how in ("wants no more", "resets", "is no web server", "sends too many", "says nothing")
    ),
    # walks once more, and slower, what test_callflow walks
    "test_docs.py::test_the_drawn_call_flow_is_the_one_there_is",
    "test_docs.py::test_every_phase_and_decision_is_reached_by_the_drawing",
    # a store of objects that is killed, and started twice
    "test_storing.py::test_a_store_that_is_killed_loses_nothing",
    "test_pjsip_media.py::test_each_suite_is_answered_as_it_is_offered",
    # colleagues who enrol: one of them does so in the quick tier
    "test_enrol_calls.py::test_a_voice_that_is_kept_is_replaced_once_and_only_where_that_is_allowed",
    "test_enrol_calls.py::test_on_a_network_kamailio_stands_in_front",
    # the engine's own scenes that last: what they hold is also held by what is quick beside them
    "test_pjsip.py::test_each_way_to_hold_is_told_and_kills_nobody",
    "test_pjsip_media.py::test_the_bridges_clock_waits_for_no_python_and_what_is_missed_is_known",
    "test_pjsip_media.py::test_what_one_leg_sent_is_never_told_of_another",
    # IPv6, once a call has shown it
    "test_pjsip_ipv6.py::test_a_call_stays_with_its_version_of_ip",
    "test_pjsip_ipv6.py::test_where_ipv6_alone_is_spoken_that_is_offered_and_taken",
    # two calls at the pace of their notice, which make fresh has a bare Debian run
    "test_demo.py::test_the_demo_shows_both_calls_and_what_is_kept_of_them",
    # heads that are made, and models that are measured: rarely, and by hand
    "test_festival.py",
    "test_lines.py",
    "test_train_keyword.py",
    "test_training.py",
    "test_whisper.py",
)
QUICK = (
    "test_among_hosts.py::test_a_host_that_is_lost_is_completed_by_another_and_lives_after_all",
    "test_among_hosts.py::test_the_end_waits_for_no_database_that_stands_still",
    "test_among_hosts.py::test_what_others_have_decided_is_done_to_the_files_of_this_host",
    "test_shared_faults.py::test_kills_in_the_midst_of_commits_leave_whole_transactions",
    "test_shared_board.py::test_a_board_that_a_newer_version_keeps_is_left_alone",
    "test_shared_board.py::test_a_host_that_hears_nothing_looks_in_time_for_its_lease",
    "test_two_hosts.py::test_what_one_does_the_other_sees",
    "live/test_recording.py::test_what_is_written_down",
    "live/test_refusal.py::test_during_the_notice[inband]",
    "live/test_refusal.py::test_in_the_call[rfc4733]",
    "live/test_spoken.py::test_in_the_call",
    "live/test_sealed.py::test_a_refusal_in_the_call_takes_part_and_key",
    "live/test_faults.py::test_a_power_cut_in_a_call_costs_a_second_at_most",
    "live/test_trunk.py::test_a_call_over_the_registered_trunk",  # Kamailio
    "live/test_other_phones.py::test_baresip_on_the_desk",
    "live/test_other_phones.py::test_sipp_refuses_by_real_events",
    "live/test_edge.py::test_a_call_from_the_trunk_reaches_a_worker_and_ends_from_either_side",
    "live/test_edge.py::test_a_stranger_gets_no_answer_whatever_is_asked",
    "live/test_edge_workers.py::test_the_last_call_before_a_crash_is_given_to_nobody_else",
    "live/test_edge_process.py::test_workers_and_calls_are_added_without_a_restart",
    "live/test_edge_identity.py::test_what_an_identity_is_worth_and_no_call_is_refused_for_it",
    "live/test_workers.py::test_five_calls_at_once_are_bridged_and_recorded",
    "live/test_web.py::test_from_a_one_time_code_to_what_was_said",  # Chromium
    "web/test_listening.py::test_what_is_heard_is_what_was_said[sealed]",
)
LASTING = (
    *("test_crash_steps", "test_pjsip_media", "test_enrol_calls", "test_pieces", "test_shared_faults"),
    *("test_row_keys", "test_hold_race", "test_detector", "test_two_hosts", "test_keeping"),
    *("test_lost", "live/"),
)
"""Files of few tests that last: they begin first, so that at the end no worker is alone with one."""

full = False
"""Whether this run is of the full tier; set before any module of tests is imported."""


def depth(quick: int, all_of_it: int) -> int:
    """How deep, or how often, something is tried in this tier."""
    return all_of_it if full else quick


def first(*kinds: str) -> Sequence[str]:
    """Over which of several databases or stores something is tried: the first; in the full tier all."""
    return kinds if full else kinds[:1]


def left_out(test: str) -> bool:
    """Whether the quick tier leaves out this test, or this whole module (`tests/…`, as pytest names them)."""
    named = test.removeprefix("tests/")
    taken = (one for one in QUICK if named.startswith(one) or ("::" not in named and one.startswith(named)))
    return named.startswith(FULL) and not any(taken)


def lasts(test: str) -> bool:
    """Whether the file of this test, as pytest names it, is to begin early."""
    return test.removeprefix("tests/").startswith(LASTING)
