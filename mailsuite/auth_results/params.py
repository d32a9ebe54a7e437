"""Parameters of SPF, DKIM, DMARC and ARC; none of them is Postfix's. Everything is off by default."""

from mailsuite.config.registry import Param, boolean, declare, enum, integer, seconds, string, words

# --- what is looked at of mail from others --------------------------------------------------------------------------
SPF_VERIFY = declare(Param("spf_verify", "no", boolean(),
    "Check SPF of mail from other hosts and write the result into Authentication-Results."))
DKIM_VERIFY = declare(Param("dkim_verify", "no", boolean(),
    "Verify DKIM signatures of mail from other hosts and write the results into Authentication-Results."))
DMARC_VERIFY = declare(Param("dmarc_verify", "no", boolean(),
    "Evaluate DMARC of mail from other hosts; SPF and DKIM are then checked as well."))
ARC_VERIFY = declare(Param("arc_verify", "no", boolean(),
    "Validate the ARC chain of mail from other hosts."))
AUTH_RESULTS_HOSTNAME = declare(Param("auth_results_hostname", "$myhostname", string(least=1),
    "The authserv-id of our Authentication-Results headers. Headers of that name in mail from outside are removed."))
AUTH_RESULTS_EXEMPT_NETWORKS = declare(Param("auth_results_exempt_networks", "$mynetworks", string(),
    "Clients whose mail is not verified and may carry Authentication-Results of ours, e.g. content filters."))
AUTH_RESULTS_TIMEOUT = declare(Param("auth_results_timeout", "10s", seconds(least=1),
    "How long all DNS look-ups for one message, or for one SPF restriction, may take together; what is not known by "
    "then is a temperror."))

# --- SPF ------------------------------------------------------------------------------------------------------------
SPF_LOOKUP_LIMIT = declare(Param("spf_lookup_limit", "10", integer(least=1, most=100),
    "Terms of SPF records that ask DNS, for one check (RFC 7208 section 4.6.4)."))
SPF_VOID_LOOKUP_LIMIT = declare(Param("spf_void_lookup_limit", "2", integer(most=100),
    "Look-ups without an answer, for one check."))
SPF_CHECK_HELO = declare(Param("spf_check_helo", "yes", boolean(),
    "The SPF restrictions check the HELO name too, before the sender's domain."))
SPF_RECEIVED_HEADER = declare(Param("spf_received_header", "no", boolean(),
    "With spf_verify, add a Received-SPF header as well (RFC 7208 section 9.1)."))

# --- DKIM -----------------------------------------------------------------------------------------------------------
DKIM_SIGNATURE_LIMIT = declare(Param("dkim_signature_limit", "8", integer(least=1, most=100),
    "DKIM signatures of one message that are verified; more are passed over."))
DKIM_MINIMUM_KEY_BITS = declare(Param("dkim_minimum_key_bits", "1024", integer(least=512, most=4096),
    "RSA keys shorter than this do not count (RFC 8301 section 3.2)."))
DKIM_CLOCK_SKEW = declare(Param("dkim_clock_skew", "300s", seconds(),
    "How wrong clocks may be when t= and x= of a signature are judged."))
DKIM_ACCEPT_PARTIAL_BODY = declare(Param("dkim_accept_partial_body", "no", boolean(),
    "A signature with l= is good although there is more body behind what it signed."))
DKIM_SIGN_DOMAINS = declare(Param("dkim_sign_domains", "", string(),
    "Tables: domain of From: -> selector:keyfile (several for several signatures). \".example.com\" stands for names "
    "below example.com, which are then signed by it. `mailsuite dkim key` makes keys."))
DKIM_SIGN_NETWORKS = declare(Param("dkim_sign_networks", "$mynetworks", string(),
    "Clients whose mail is signed, besides those who logged in and local programs."))
DKIM_KEY_DIRECTORY = declare(Param("dkim_key_directory", "$config_directory/dkim", string(least=1),
    "Where key files lie; all in it are read before rights are dropped. Key files without a slash in front are below."))
DKIM_SIGN_HEADERS = declare(Param("dkim_sign_headers",
    "From, Sender, Reply-To, Subject, Date, Message-ID, To, Cc, MIME-Version, Content-Type, Content-Transfer-Encoding, "
    "In-Reply-To, References, Resent-Date, Resent-From, Resent-To, Resent-Cc, Resent-Message-ID, List-Id, List-Help, "
    "List-Unsubscribe, List-Unsubscribe-Post, List-Subscribe, List-Post, List-Owner, List-Archive", words(),
    "Header fields that a signature covers, where a message has them."))
DKIM_OVERSIGN_HEADERS = declare(Param("dkim_oversign_headers",
    "From, Reply-To, Subject, Date, To, Cc, MIME-Version, Content-Type, Content-Transfer-Encoding",
    words(), "Those of them that nobody may add either (RFC 6376 section 8.15)."))
DKIM_SIGN_CANONICALIZATION = declare(Param("dkim_sign_canonicalization", "relaxed/relaxed",
    enum("relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"),
    "What changes on the way a signature survives: header/body (RFC 6376 section 3.4)."))
DKIM_SIGN_LIFETIME = declare(Param("dkim_sign_lifetime", "0", seconds(unit="d"),
    "After how long our signatures expire (x=); 0: never."))

# --- DMARC ----------------------------------------------------------------------------------------------------------
DMARC_ORGANIZATIONAL_DOMAIN = declare(Param("dmarc_organizational_domain", "psl", enum("psl", "treewalk"),
    "How the domain that stands above a name is found: by the public suffix list (RFC 7489), or by asking DNS "
    "(DMARCbis)."))
DMARC_QUARANTINE_HEADER = declare(Param("dmarc_quarantine_header", "X-Spam-Flag: YES", string(least=1),
    "The header that mark_dmarc_quarantine adds."))

# --- ARC ------------------------------------------------------------------------------------------------------------
ARC_SEAL = declare(Param("arc_seal", "", string(),
    "domain:selector:keyfile of our ARC seal on mail from others that leaves again; empty: none. Needs arc_verify."))
ARC_TRUSTED_DOMAINS = declare(Param("arc_trusted_domains", "", string(),
    "Sealers whose word counts: when all seals of a good chain are theirs and the first hop saw DMARC pass, the "
    "domain's DMARC policy is not carried out."))
