"""Exceptions become statuses and texts in one table."""

from __future__ import annotations

import pytest
from rookery.http import faults
from rookery.http.faults import CodedFault, Fault, Outcome, PlainFault, combined_text, outcome_of


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (faults.InvalidMethod(), (405, "Invalid method")),
        (faults.RoleMissing(), (501, "Invalid method")),
        (faults.InvalidWait(), (400, "Invalid wait time")),
        (faults.InvalidIndex(), (400, "Invalid index")),
        (faults.JoinAddressMissing(), (400, "missing address to join")),
        (CodedFault(404, 'Unknown node "x"'), (404, 'Unknown node "x"')),
        (CodedFault(400, "rpc error: Permission denied"), (400, "rpc error: Permission denied")),
        (PlainFault("No cluster leader"), (500, "No cluster leader")),
        (PlainFault("Permission denied"), (403, "Permission denied")),
        (PlainFault("rpc error: rpc error: Permission denied"), (403, "Permission denied")),
        (PlainFault("rpc error: ACL token not found"), (403, "ACL token not found")),
        (PlainFault("Permission denied by x"), (500, "Permission denied by x")),
        (PlainFault("permission denied"), (500, "permission denied")),
    ],
)
def test_error_has_its_status_and_text(error: Exception, expected: tuple[int, str]) -> None:
    """Coded errors keep their code, plain ones are 500 but for the two suffixes that mean 403."""
    assert outcome_of(error) == Outcome(*expected, is_defect=False)


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), KeyError("k"), Fault("not in the table")]
)
def test_unknown_error_is_a_defect_without_details(error: Exception) -> None:
    """What nobody planned is a bare 500: its text is for the log, not for the client."""
    assert outcome_of(error) == Outcome(500, "Internal Server Error", is_defect=True)


def test_every_fault_is_in_the_table() -> None:
    """A fault type without status and text would reach the client as a defect."""
    assert set(faults.FAULTS) == set(Fault.__subclasses__())


@pytest.mark.parametrize(
    ("causes", "text"),
    [
        (["a"], "1 error occurred:\n\t* a\n\n"),
        (["a", "b"], "2 errors occurred:\n\t* a\n\t* b\n\n"),
    ],
)
def test_causes_are_combined(causes: list[str], text: str) -> None:
    """Several causes make one text in the form clients know."""
    assert combined_text(causes) == text
