"""Address management: the ledger's transitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.network.addresses import Exhausted, Ledger, adopt, allocate, configure, node_address, release

CIDR = "10.64.1.0/29"  # .2 to .6 for pods


def _fill(ledger: Ledger, *sandboxes: str) -> tuple[Ledger, list[str]]:
    given_out = []
    for sandbox in sandboxes:
        ledger, addresses = allocate(ledger, sandbox)
        given_out.append(addresses[0])
    return ledger, given_out


def test_addresses_go_round_so_that_a_released_one_is_used_last():
    ledger, first = _fill(Ledger((CIDR,)), "a", "b", "c")
    assert first == ["10.64.1.2", "10.64.1.3", "10.64.1.4"]
    ledger, second = _fill(release(ledger, {"b"}), "d", "e", "f")
    assert second == ["10.64.1.5", "10.64.1.6", "10.64.1.3"]


def test_the_same_sandbox_gets_the_same_address():
    _, first = _fill(Ledger((CIDR,)), "a", "b", "a")
    assert first == ["10.64.1.2", "10.64.1.3", "10.64.1.2"]


def test_all_held():
    ledger, _ = _fill(Ledger((CIDR,)), *"abcde")
    with pytest.raises(Exhausted, match=r"no free address in 10\.64\.1\.0/29: all 5 are held by pods of this node"):
        allocate(ledger, "f")


def test_both_families_and_a_new_range_for_new_pods():
    ledger, addresses = allocate(Ledger((CIDR, "fd00:64:0:1::/64")), "a")
    assert addresses == ("10.64.1.2", "fd00:64:0:1::2")
    ledger, addresses = allocate(configure(ledger, ("10.64.9.0/24",)), "b")
    assert addresses == ("10.64.9.2",)
    assert ledger.holders["a"] == ("10.64.1.2", "fd00:64:0:1::2")


def test_a_lost_ledger_is_completed_from_the_kernel():
    ledger, addresses = allocate(adopt(Ledger((CIDR,)), {"a": ("10.64.1.2",), "half-made": ()}), "b")
    assert addresses == ("10.64.1.3",)
    assert set(ledger.holders) == {"a", "b"}


def test_the_nodes_own_address_is_the_first():
    assert node_address("10.64.1.0/24") == "10.64.1.1"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=60))
def test_no_two_sandboxes_ever_hold_one_address(steps):
    ledger = Ledger(("10.64.1.0/28",))
    for taking, sandbox in steps:
        ledger = allocate(ledger, sandbox)[0] if taking else release(ledger, {sandbox})
        held = [address for addresses in ledger.holders.values() for address in addresses]
        assert len(set(held)) == len(held)
        assert not {"10.64.1.0", "10.64.1.1", "10.64.1.15"} & set(held)
