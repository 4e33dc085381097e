"""Configurations for tests: a small one, one with every key, and ways to change them."""

from pathlib import Path

import pytest

from sipagent.cli.init_directory import init, no_answers, place_of
from sipagent.config.load import Config, ConfigError, parse

SMALL = """
[service]
name = "Office"
controller = "Town"
[trunk]
uri = "sip:agent@127.0.0.1"
allowed_sources = ["127.0.0.0/8"]
[operators]
extensions = ["sip:201@127.0.0.1:5070"]
"""
CONTRACT = """
[service]
name = "Agglo J'écoute"
controller = "Communauté d'agglomération du Saint-Quentinois"
controller_contact = "…"
dpo_contact = "dpo@example.org"
legal_basis = "…"
language = "fr"
timezone = "Europe/Paris"
country = "FR"
[trunk]
uri = "sip:agent@trunk.example.net"
registrar = "sip:trunk.example.net"
username = "agent"
password_file = "secrets/trunk-password"
realm = ""
transport = "udp"
listen = "0.0.0.0:5060"
public_address = ""
rtp_ports = "10000-10999"
numbers = ["+33323063006", "+33323063007"]
allowed_sources = ["192.0.2.0/24"]
codecs = ["PCMA", "PCMU", "G722"]
srtp = "off"
[hours]
week = { mon = "08:30-12:00,13:30-17:30", tue = "08:30-24:00" }
holidays = "FR"
closed = ["2026-12-24/2027-01-02"]
[prompts]
notice = "prompts/fr/notice.wav"
welcome = "prompts/fr/welcome.wav"
refused = "prompts/fr/refused.wav"
confirm = "prompts/fr/confirm.wav"
closed = "prompts/fr/closed.wav"
unavailable = "prompts/fr/unavailable.wav"
hold_music = "prompts/hold.wav"
languages = { "+33323063007" = "en" }
[prompts.en]
notice = "prompts/en/notice.wav"
[refusal]
mode = "objection"
digit = "9"
accept_digit = "1"
engine = "embedding"
keywords = ["je refuse", "refuser", "pas d'enregistrement"]
accept_keywords = ["oui", "j'accepte"]
window_s = 5.0
in_call = "key"
in_call_keywords = ["arrêtez l'enregistrement", "ne m'enregistrez pas"]
[operators]
extensions = ["sip:201@pbx.example.net", "sip:202@pbx.example.net"]
username = ""
password_file = ""
outbound_proxy = ""
strategy = "sequential"
ring_s = 20
max_wait_s = 120
wrap_up_s = 0
transfer = "bridge"
refer_targets = []
transfer_targets = []
stop_code = "*5"
stop_erases = true
pause_code = "*6"
flag_code = "*7"
[recording]
enabled = true
share = 1.0
justification = ""
directory = "recordings"
format = "flac"
recipients = []
[capacity]
calls = 1
full_status = 503
media_timeout_s = 30
[edge]
certificate = "keys/edge.pem"
private_key = "keys/edge.key"
[metrics]
listen = "127.0.0.1:9464"
[retention]
period = "6 months"
justification = ""
receipts_period = "6 months"
analysis_period = "1 year"
erase_after_note = true
database = "retention.db"
purposes = ["statistics", "quality", "organisation"]
hold_grounds = ["disciplinary", "criminal"]
[web]
listen = "127.0.0.1:8443"
url = "https://ecoute.example.net"
certificate = "keys/web.pem"
private_key = "keys/web.key"
trusted_proxies = []
session_minutes = 30
oidc_issuer = ""
oidc_client_id = ""
oidc_client_secret_file = ""
oidc_roles = { "ecoute-listeners" = "listener", "ecoute-dpo" = "officer" }
oidc_email_proved = false
"""


def read(text: str, where: Path = Path("/etc/sipagent/config.toml")) -> Config:
    return parse(text, where)


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(text)
    return str(error.value).removeprefix("/etc/sipagent/config.toml: ")


def with_keys(table: str, keys: str, text: str = SMALL) -> str:
    """Put keys into a table of the text, in place of those of the same names there."""
    names = {line.partition("=")[0].strip() for line in keys.splitlines()}
    here, lines = "", []
    for line in text.splitlines():
        here = line.strip("[] ") if line.startswith("[") else here
        if here != table or line.partition("=")[0].strip() not in names:
            lines.append(line)
    if f"[{table}]" not in lines:
        lines.append(f"[{table}]")
    at = lines.index(f"[{table}]") + 1
    return "\n".join([*lines[:at], keys, *lines[at:]])


def init_examples(directory: Path, passphrase: str | None) -> list[Path]:
    """Write the examples as they are shipped, and a key pair, see `init`."""
    place = place_of(directory)
    return init(place, no_answers(place, passphrase))
