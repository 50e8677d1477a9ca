"""Reads and changes the packet filter of the calling thread's namespace through iptables, and tells firewalld.

`iptables` is whichever variant the system has chosen, which is the one that Docker uses.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping

from agents.network.rules import Rule, parse_saved, plan_rules
from mesh.errors import CoveyError


class FirewallRefusal(CoveyError):
    """iptables, nft or firewalld failed; the message holds its own words."""


def run(*command: str, given: str = "") -> str:
    """The standard output of a command; raises `FirewallRefusal` when it is missing or fails."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise FirewallRefusal(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise FirewallRefusal(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def ensure_rules(wanted: Iterable[Rule], comment: str) -> None:
    """Make the rules marked with `comment` be exactly these; others are not touched."""
    for action in plan_rules(wanted, parse_saved(run("iptables-save"), comment)):
        run("iptables", "-w", *action.command)


def filter_in_use() -> bool:
    """Whether anybody filters packets through iptables in this namespace: where nobody does, nothing has to be let
    through, and no table has to be made."""
    if shutil.which("iptables-save") is None:
        return False
    lines = run("iptables-save", "-t", "filter").splitlines()
    return any(line.startswith("-A ") or (line.startswith(":") and " DROP " in line) for line in lines)


def ensure_tables(tables: Mapping[str, str], name: str, mark: str) -> None:
    """Make the nftables table `name` of each family be what its commands say, unless the table carries that mark."""
    there = run("nft", "list", "tables").splitlines()
    for family, commands in tables.items():
        listed = run("nft", "list", "table", family, name) if f"table {family} {name}" in there else ""
        if mark not in listed:
            run("nft", "-f", "-", given=commands)


def remove_tables(families: Iterable[str], name: str) -> None:
    """Remove the nftables table `name` of these families; gone already is fine."""
    there = run("nft", "list", "tables").splitlines()
    for family in families:
        if f"table {family} {name}" in there:
            run("nft", "delete", "table", family, name)


def trust_interface(interface: str, *, trusted: bool) -> None:
    """Put the interface into firewalld's zone "trusted", or take it out; nothing where firewalld does not run.

    firewalld's own table would refuse what iptables' accepts. The change is to its running state only.
    """
    if not shutil.which("firewall-cmd"):
        return
    if subprocess.run(("firewall-cmd", "--state"), capture_output=True, check=False).returncode != 0:
        return
    asked = subprocess.run(
        ("firewall-cmd", "--zone=trusted", f"--query-interface={interface}"), capture_output=True, check=False
    )
    if (asked.returncode == 0) != trusted:
        run("firewall-cmd", "--zone=trusted", f"--{'add' if trusted else 'remove'}-interface={interface}")
