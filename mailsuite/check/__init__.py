"""What is wrong with a site, found before a mail is lost: `mailsuite check`, `postfix check`.

    findings = check_site(Site.load("/etc/postfix"))            all in one go, worst first

site.py      what the checks look at      finding.py   what they say      checks.py   the table of checks
One family of checks a file: folders.py tables.py files.py domains.py certificates.py relay.py mailboxes.py sockets.py.
To add one: a generator `def check_x(site: Site) -> Iterator[Finding]` and its line in checks.py.
"""
