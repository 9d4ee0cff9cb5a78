import pytest

from splitbill.split import by_weight, evenly


def test_equal_shares():
    assert evenly(900, ["anna", "ben", "cleo"]) == {"anna": 300, "ben": 300, "cleo": 300}


def test_no_cent_is_lost():
    shares = evenly(1000, ["anna", "ben", "cleo"])
    assert shares == {"anna": 334, "ben": 333, "cleo": 333}


def test_nobody_is_refused():
    with pytest.raises(ValueError):
        evenly(100, [])


def test_weights():
    assert by_weight(1000, {"anna": 2, "ben": 1}) == {"anna": 667, "ben": 333}
