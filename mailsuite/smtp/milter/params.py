"""Parameters of the milter client; effects as in Postfix's MILTER_README and postconf(5)."""

from mailsuite.config.registry import Param, declare, enum, integer, seconds, string, words

ACTIONS = ("accept", "reject", "tempfail", "quarantine", "shutdown")
PROTOCOLS = ("2", "3", "4", "6")

SMTPD_MILTERS = declare(Param("smtpd_milters", "", string(),
    "Milters that see mail from SMTP clients: inet:host:port, unix:path, or { inet:host:port, name=value... } with "
    "connect_timeout, command_timeout, content_timeout, default_action, protocol of its own."))
NON_SMTPD_MILTERS = declare(Param("non_smtpd_milters", "", string(),
    "Milters that see mail of local users (sendmail), and with internal_mail_filter_classes our own notices."))
SMTPD_MILTER_MAPS = declare(Param("smtpd_milter_maps", "", string(),
    "Tables from client address to milters in the place of smtpd_milters; DISABLE for none."))
DEFAULT_ACTION = declare(Param("milter_default_action", "tempfail", enum(*ACTIONS),
    "What becomes of mail when a milter cannot be asked."))
PROTOCOL = declare(Param("milter_protocol", "6", words(allowed=(*PROTOCOLS, "no_header_reply")),
    "The newest version of the protocol that is offered; no_header_reply: the milter does not answer headers."))
CONNECT_TIMEOUT = declare(Param("milter_connect_timeout", "30s", seconds(least=1),
    "How long connecting to a milter and its options may take."))
COMMAND_TIMEOUT = declare(Param("milter_command_timeout", "30s", seconds(least=1),
    "How long a milter may think about a command."))
CONTENT_TIMEOUT = declare(Param("milter_content_timeout", "300s", seconds(least=1),
    "How long a milter may think about a piece of the message."))
MACRO_DAEMON_NAME = declare(Param("milter_macro_daemon_name", "$myhostname", string(), "The macro {daemon_name}."))
MACRO_V = declare(Param("milter_macro_v", "$mail_name $mail_version", string(), "The macro v."))
MACRO_DEFAULTS = declare(Param("milter_macro_defaults", "", string(),
    "name=value... for macros that have no value otherwise."))
HEADER_CHECKS = declare(Param("milter_header_checks", "", string(),
    "header_checks for headers that milters add."))

EDIT_LIMIT = declare(Param("milter_edit_limit", "1000", integer(least=1),
    "Changes of one message by one milter; more count as a failure of the milter."))
PACKET_LIMIT = declare(Param("milter_packet_limit", "1048576", integer(least=65536),
    "Octets of one packet from a milter."))


def _macros(stage: str, default: str) -> Param[tuple[str, ...]]:
    return declare(Param(f"milter_{stage}_macros", default, words(),
                         f"Macros that are sent with {stage.replace('_', ' ')}, unless the milter asks for others."))


MACROS = {
    "connect": _macros("connect", "j {daemon_name} {daemon_addr} v _"),
    "helo": _macros("helo", "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}"),
    "mail": _macros("mail", "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}"),
    "rcpt": _macros("rcpt", "i {rcpt_addr} {rcpt_host} {rcpt_mailer}"),
    "data": _macros("data", "i"),
    "eoh": _macros("end_of_header", "i"),
    "eom": _macros("end_of_data", "i"),
    "unknown": _macros("unknown_command", ""),
}
