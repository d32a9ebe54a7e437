# The two commands of the README are `make run` and `make test`; each does all its own set-up.
SITE ?= site
VENV ?= .venv
# Tests wait more than they compute; ranges of ports (tests/support/suite.py) are there for eight workers.
JOBS ?= $(shell n=$$(( 2 * $$(nproc 2>/dev/null || echo 2) )); echo $$(( n < 8 ? n : 8 )))
SHARED ?= ../shared
READY = $(VENV)/.ready
PYTHON = $(VENV)/bin/python
CHECK = $(VENV)/bin/ruff check mailsuite certs tests scripts && $(VENV)/bin/mypy
# Without it each worker and each command that a test starts would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check docs unit system interop faults soak swap fuzz bench bench-tables bench-queue bench-scale lock clean

run: $(READY)
	@$(VENV)/bin/mailsuite setup $(SITE)
	@$(VENV)/bin/mailsuite demo $(SITE)

test: $(READY)
	@scripts/install-peers
	@{ $(CHECK); } & checking=$$!; \
	$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup --durations 10 tests; tested=$$?; \
	wait $$checking || { echo "ruff or mypy complained, see above"; exit 1; }; exit $$tested

check: $(READY)
	$(CHECK)

# Written from the source: docs/parameters.md, docs/dovecot-settings.md, a list in docs/differences.md.
docs: $(READY)
	$(PYTHON) -m mailsuite.config.manual.write

unit: $(READY)
	$(PYTHON) -m pytest -n $(JOBS) -m "not system" tests

system: $(READY)
	$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup -m system tests

interop: $(READY)
	MAILSUITE_INTEROP_MESSAGES=500 $(PYTHON) -m pytest tests/interop

# Any process is killed under load, 200 times; a few minutes.
faults: $(READY)
	$(PYTHON) -m tests.faults.kills --kills 200

soak: $(READY)
	$(PYTHON) -m tests.faults.soak --minutes 30
	$(PYTHON) -m tests.faults.relay_soak --minutes 5

# Dovecot and we serve the same mailboxes in turn, fifty rounds for each seed; a minute or two a seed.
swap: $(READY)
	$(PYTHON) -m tests.store.swapping --rounds 50 --seeds 1-3 --kinds maildir,mbox
	$(PYTHON) -m tests.store.swapping --rounds 50 --seeds 4-5 --kinds maildir,fs,mbox --keep

fuzz: $(READY)
	$(PYTHON) -m pytest -p no:cacheprovider tests/fuzz --fuzz-seconds 60
	$(PYTHON) -m pytest -n $(JOBS) -m hypothesis --hypothesis-profile random tests

# Needs root, and Debian's Postfix and Dovecot (scripts/install-peers).
bench: $(READY)
	@scripts/install-peers
	@test -d $(SHARED)/bench || { echo "skipped: no $(SHARED)/bench"; exit 1; }
	$(PYTHON) scripts/bench.py --bench $(SHARED)/bench --bin $(abspath $(VENV))/bin --output docs/performance.md

# postmap beside Postfix's; the figures go into docs/performance.md.
bench-tables: $(READY)
	@scripts/install-peers
	$(PYTHON) scripts/bench_tables.py --bin $(abspath $(VENV))/bin --output docs/performance.md

# A deferred queue of 100,000 messages, and mail beside a dead host; the figures go into docs/queue.md.
bench-queue: $(READY)
	$(PYTHON) scripts/bench_queue.py --output docs/queue.md

# One Maildir of a million messages, ten thousand folders; some 2 GB of room in /var/tmp and ten minutes.
bench-scale: $(READY)
	$(PYTHON) scripts/bench_scale.py --output docs/performance.md

$(READY): pyproject.toml requirements.lock
	@scripts/make-venv $(VENV)

lock: $(READY)
	$(VENV)/bin/pip-compile -q --upgrade --generate-hashes --allow-unsafe --extra dev --strip-extras --no-emit-index-url \
	  --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
