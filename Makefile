# All of it runs in .venv, which is made when it is first needed and brought up to date when pyproject.toml changes.
# Needs Linux on x86-64 and Python 3.11 or 3.12: the SIP engine exists for no other. Where there is neither, uv brings one.
# ENGINE_WHEEL: a wheel of `make engine` in its place, for the Python that it is for, in a .venv of its own.

ENGINE_WHEEL ?=
ENGINE_FOR := $(word 3,$(subst -, ,$(notdir $(ENGINE_WHEEL))))
VENV := .venv$(addprefix -,$(ENGINE_FOR))
PYTHON ?= $(if $(ENGINE_FOR),$(ENGINE_FOR:cp3%=python3.%),python3.12 python3.11 python3)
RUN = $(VENV)/bin/sipagent
PIP = PIP_USE_PEP517=1 PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
LOCK = deploy/requirements.lock
CHECKED = sipagent media retention prompts tests deploy
# DEB_PYTHON: the interpreter that the package brings along; DEB_ENGINE: a wheel of your own build in the place of the engine's:
# with one for 3.13 the package depends on Debian's Python; DEB_OUT: where it goes
DEB_OUT ?= dist
# ENGINE_PYTHON: the interpreter that an engine of one's own is for; SOURCE: pjproject's archive or folder
DEB_PYTHON ?= $(if $(findstring -cp313-,$(DEB_ENGINE)),/usr/bin/python3.13,$(VENV)/bin/python)
ENGINE_PYTHON ?= $(VENV)/bin/python
DEB = PYTHON=$(DEB_PYTHON) ENGINE=$(DEB_ENGINE) TOOLS=$(VENV)/packaging

# $(call need,PROGRAM:PACKAGE FILE:PACKAGE …): what is missing is installed for root on a Debian; others are told.
need = missing=; for pair in $(1); do there=$${pair%%:*}; \
		[ -e "$$there" ] || PATH="$$PATH:/usr/sbin" command -v "$$there" >/dev/null || missing="$$missing $${pair\#\#*:}"; \
	done; \
	if [ -n "$$missing" ] && { [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; }; then \
		echo "missing; as root on a Debian: apt install$$missing" >&2; exit 2; \
	elif [ -n "$$missing" ]; then \
		echo "Installing$$missing"; log=$$(mktemp); export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update && apt-get install -y --no-install-recommends $$missing; } >"$$log" 2>&1 </dev/null \
			|| { cat "$$log" >&2; rm "$$log"; exit 1; }; rm "$$log"; \
	fi

comma := ,
# $(find): the first Python that will do, in $python.
find = for python in $(PYTHON) ''; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)$(if $(ENGINE_FOR),$(comma) (3, 13))))' 2>/dev/null && break; \
	done

# $(bring): the system's own, or else what PyPI's uv brings into .python, where any user may run it; or why not, in $why.
bring = uv=$$(command -v uv) || { uv=.python/uv/bin/uv; \
		python3 -c 'import ensurepip' 2>/dev/null || { $(call need,none:python3-venv); $(find); }; }; \
	if [ -z "$$python" ]; then \
		echo 'No Python 3.11 or 3.12 here: uv brings one into .python'; \
		log=$$(mktemp); export UV_PYTHON_INSTALL_DIR=$(CURDIR)/.python; \
		{ command -v "$$uv" || { python3 -m venv .python/uv && .python/uv/bin/python -m pip install --quiet uv; }; } >"$$log" 2>&1 \
			&& "$$uv" python install --no-progress --no-bin 3.12 >"$$log" 2>&1 && python=$$("$$uv" python find --managed-python 3.12) \
			|| why=", and uv brings none ($$(grep -i -m 1 error "$$log" | cut -c 1-120))"; rm "$$log"; \
	fi

unexport PYTHONDONTWRITEBYTECODE # tests start hundreds of processes, each of which would compile all of it

# Beside each other, for most tests wait more than they compute. What fails is not run again.
tests = $(VENV)/bin/python -m pytest -q --dist loadfile --no-loadscope-reorder

.PHONY: help run demo test test-all fresh lint bench bench-refusals bench-tones bench-voice bench-enrol bench-store bench-receipts bench-events bench-marks
.PHONY: bench-load bench-web screenshots bench-cluster try-hosts try-cluster soak attack fuzz audit engine deb deb-twice try-package try-wheel try-units try-container prompts languages
.PHONY: peers lock clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.* ## /\1 /p' $(MAKEFILE_LIST) | while read -r name what; do \
		printf 'make %-15s %s\n' "$$name" "$$what"; done

run: $(VENV)/installed ## run the agent, on this machine alone, with config.toml
	@echo 'With config.toml as it is shipped, and two softphones on this machine that need no account:'
	@echo '  the caller    dials sip:0323063006@127.0.0.1:5060'
	@echo '  the operator  listens on port 5070, and is rung as sip:201@127.0.0.1:5070'
	@echo 'The page, where recordings are listened to, says below where it is.'
	@echo 'Ctrl-C ends it once calls are over, a second one at once.'
	@$(RUN) --config $${SIPAGENT_CONFIG:-config.toml} run --web

demo: $(VENV)/installed ## show two calls by scripted phones: one lets itself be recorded, one refuses
	@$(RUN) demo

test: lint peers ## check format, lint, types and each promise once: the quick tier of tests
	@$(tests) -n 3

test-all: lint peers ## check all there is, as deep as it goes: both databases, hosts, stores, browsers, attacks, the package
	@$(tests) -n 4 --full --ignore=tests/attack
	@$(MAKE) --no-print-directory attack ATTACKS=tests/attack # what else make attack runs is in the line above
	@if [ "$$(id -u)" = 0 ] && unshare --mount --pid --net --fork true; then $(MAKE) --no-print-directory try-package; else \
		echo 'make try-package is left out: it needs root, and namespaces' >&2; fi

fresh: ## do what README says in a bare Debian, as root: make demo, make test
	@$(call need,mmdebstrap:mmdebstrap unshare:util-linux git:git); tests/fresh

lint: $(VENV)/tested ## check format, lint and types alone
	@$(VENV)/bin/ruff format --check $(CHECKED)
	@$(VENV)/bin/ruff check $(CHECKED)
	@$(VENV)/bin/mypy

bench: $(VENV)/tested peers ## measure latencies and idle CPU, beside what is to be reached
	@$(VENV)/bin/python -m tests.bench

bench-refusals: $(VENV)/tested ## let 200 live callers refuse, at any moment: minutes
	@$(VENV)/bin/python -m tests.bench.refusals

bench-tones: $(VENV)/tested ## press 5,000 keys over bad lines, and listen to 10 h of speech without any
	@$(call need,espeak-ng:espeak-ng)
	@$(VENV)/bin/python -m tests.bench.tones

bench-voice: $(VENV)/tested ## say the phrases of refusal with voices never heard before: needs `python -m media.training`'s sounds
	@$(PIP) --editable '.[test,train]' && OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python -m tests.bench.voice

bench-enrol: $(VENV)/tested ## let enrolled voices teach a sixth of their kind: ten minutes and more
	@$(call need,espeak-ng:espeak-ng)
	@$(PIP) --editable '.[test,train]' && OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python -m tests.bench.enrolled

bench-store: $(VENV)/tested ## list, verify and purge among a million rows: about ten minutes
	@$(VENV)/bin/python -m tests.bench.store

bench-load: $(VENV)/tested peers ## have a hundred recorded calls at once: what they cost, and how they sound
	@$(VENV)/bin/python -m tests.bench.load

bench-web: $(VENV)/tested peers ## measure the page: the first sound, twenty listeners beside fifty calls
	@$(call need,chromium:chromium)
	@$(VENV)/bin/python -m tests.bench.web

screenshots: $(VENV)/tested ## picture each page in three widths, both languages, light and dark: screenshots/; PICTURES=--docs: those of the documents
	@$(call need,chromium:chromium)
	@$(VENV)/bin/python -m tests.web.screenshots $(PICTURES)

bench-cluster: $(VENV)/tested peers ## measure three hosts: one that dies, a refusal, what sharing costs, receipts, lists, the purge
	@$(VENV)/bin/python -m tests.bench.cluster

soak: $(VENV)/tested peers ## have callers without a pause at full capacity, in both shapes: twenty minutes
	@$(VENV)/bin/python -m tests.bench.soak

ROUNDS ?= 500
SEED ?= 1
FROM ?= 0
MINUTES ?= 120

try-hosts: $(VENV)/tested peers ## what make test leaves out, for it takes minutes: fronts of several hosts, keys and databases that are killed
	@$(tests) -n 2 --full -m slow

try-cluster: $(VENV)/tested peers ## kill whatever three hosts consist of and share, in the midst of calls: ROUNDS=500 SEED=1 FROM=0 MINUTES=120
	@$(VENV)/bin/python -m tests.cluster --rounds $(ROUNDS) --seed $(SEED) --from $(FROM) --minutes $(MINUTES)

# Its callers outlived, strangers ignored, refusals and evidence kept: what is done to it as a whole, then to each part.
ATTACKS = tests/attack tests/live/test_faults.py $(wildcard tests/live/test_edge_*.py) \
	$(addprefix tests/test_,pjsip.py pjsip_media.py pjsip_descriptions.py pjsip_screening.py request_rules.py packet_filter.py \
	marks.py reserve.py crash_steps.py recorder.py erasure.py clock.py purging.py rejections.py children.py)

attack: $(VENV)/tested peers ## attack it on loopback, in both shapes
	@$(tests) -n 2 --full $(ATTACKS)

MESSAGES ?= 100000

fuzz: $(VENV)/tested peers ## send what no peer should: MESSAGES=100000 SEED=7; without a seed another one each time, which it prints
	@FUZZ_MESSAGES=$(MESSAGES) FUZZ_SEED=$(if $(filter command,$(firstword $(origin SEED))),$(SEED),0) \
		$(VENV)/bin/python -m pytest -q -s tests/attack/test_fuzz.py

bench-receipts: $(VENV)/tested ## check 10,000 receipts of callers, and a database rewritten in a thousand ways
	@$(VENV)/bin/python -m tests.bench.receipts

bench-events: $(VENV)/tested peers ## kill who sends events and who receives them 240 times; what events cost
	@$(VENV)/bin/python -m tests.bench.told

bench-marks: $(VENV)/tested ## time how soon a refusal is on the disk, also on a busy machine
	@$(VENV)/bin/python -m tests.bench.marks

engine: $(VENV)/installed ## build the SIP engine with larger limits: SOURCE=pjproject-2.17.tar.gz, or a folder of it
	@[ -n "$(SOURCE)" ] || { echo 'make engine: SOURCE is missing; accepted: SOURCE=pjproject-2.17.tar.gz, or a folder' >&2; exit 2; }
	@$(call need,g++:g++ patch:patch swig:swig /usr/include/openssl/ssl.h:libssl-dev /usr/include/opus/opus.h:libopus-dev)
	@PYTHON=$(ENGINE_PYTHON) TOOLS=$(VENV) deploy/engine/build $(SOURCE) dist

deb: $(VENV)/packaging/bin/cyclonedx-py ## build the Debian package into dist/, with its bill of materials, its lock and the wheel
	@rm -f $(DEB_OUT)/sipagent*; $(DEB) deploy/deb/build $(DEB_OUT)

deb-twice: $(VENV)/packaging/bin/cyclonedx-py ## build the Debian package twice and compare; lintian looks at it
	@$(call need,lintian:lintian); rm -f dist/sipagent*; $(DEB) deploy/deb/twice dist && \
	lintian --allow-root --fail-on error,warning dist/sipagent_*.deb

try-package: deb ## do with dist/'s package what a newcomer does, in a bare Debian, as root
	@$(call need,mmdebstrap:mmdebstrap unshare:util-linux); deploy/try.sh $(DEB_OUT)/sipagent_*.deb
	@engine=$(firstword $(wildcard dist/pjsua2_python-*-cp313-*.whl)); \
	if [ -n "$(DEB_ENGINE)" ]; then :; elif [ -n "$$engine" ]; then \
		$(MAKE) --no-print-directory try-package DEB_ENGINE=$$engine DEB_OUT=dist/python3.13; \
	else echo 'The package on Debian'"'"'s Python is left out: dist/ has no engine for it, as make engine builds' >&2; fi

try-wheel: deb ## install dist/'s wheel by pip and by uv, each where nothing else is, and use it
	@$(VENV)/packaging/bin/python -m pip install --quiet --disable-pip-version-check uv; \
	PYTHON=$(DEB_PYTHON) UV=$(VENV)/packaging/bin/uv deploy/try-wheel.sh dist/sipagent-*.whl

try-container: ## build the container from dist/'s package, as root, and try it
	@$(call need,podman:podman runc:runc mmdebstrap:mmdebstrap); deploy/try-container.sh

try-units: ## start dist/'s package under a real systemd, in a Debian that boots in namespaces, as root
	@$(call need,mmdebstrap:mmdebstrap nsenter:util-linux); deploy/try-units.sh

audit: $(VENV)/installed ## ask pip-audit for advisories of what is shipped: needs PyPI's own list
	@$(PIP) pip-audit && $(VENV)/bin/pip-audit --strict --require-hashes --disable-pip --requirement $(LOCK)

prompts: $(VENV)/installed ## tell how to have the prompts say something else
	@$(VENV)/bin/python -m prompts.speak --help

languages: $(VENV)/tested ## put the translations together, and say what is missing: sipagent/languages
	@$(VENV)/bin/python -m tests.catalogues

clean: ## remove .venv and caches; recordings stay
	@rm -rf .venv .venv-cp3* .python .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

# any of these will do; else Debian's 17, without the database that it would start by itself
POSTGRES = $(firstword $(wildcard /usr/lib/postgresql/1[5-9]/bin/postgres))

peers: # the programs at the other end of the tests, which start their own: Debian's services would take their ports
	@quiet=/etc/postgresql-common/createcluster.d/of-the-tests.conf; \
	if [ -z "$(POSTGRES)" ] && [ "$$(id -u)" = 0 ]; then mkdir -p "$${quiet%/*}" && echo create_main_cluster = false >"$$quiet"; fi; \
	$(call need,git:git openssl:openssl ip:iproute2 kamailio:kamailio /usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so:kamailio-tls-modules /usr/lib/x86_64-linux-gnu/kamailio/modules/secsipid.so:kamailio-secsipid-modules sipp:sip-tester baresip:baresip-core linphonec:linphone-cli espeak-ng:espeak-ng festival:festival /usr/share/festival/voices/english/kal_diphone:festvox-kallpc16k strace:strace promtool:prometheus systemd-analyze:systemd chromium:chromium nginx:nginx caddy:caddy nsd:nsd keepalived:keepalived $(or $(POSTGRES),none):postgresql-17); \
	rm -f "$$quiet"; \
	for service in kamailio prometheus nginx caddy nsd keepalived; do case "$$missing" in *$$service*) \
		if [ -d /run/systemd/system ]; then systemctl -q disable --now $$service; fi;; esac; done

lock: $(VENV)/installed ## write which versions are shipped: what pyproject.toml asks for anew; UPGRADE=--upgrade: the newest of all
	@cp $(LOCK) $(LOCK).new; $(PIP) uv && $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		$(UPGRADE) --no-header --no-annotate pyproject.toml --output-file $(LOCK).new
	@{ echo '# Exactly what is shipped, by version and hash. Made by `make lock` from pyproject.toml: edit that.'; \
		sed "s/ \(;\|and\) sys_platform == 'linux'//" $(LOCK).new; } >$(LOCK) && rm $(LOCK).new

$(VENV)/installed: pyproject.toml $(LOCK) $(ENGINE_WHEEL)
	@$(find); \
	if [ -z "$$python" ] && [ "$(origin PYTHON)" = file ]; then $(bring); fi; \
	if [ -z "$$python" ]; then \
		echo "no Python 3.11 or 3.12 among $(PYTHON)$$why; accepted: these two, as in make PYTHON=/path/to/python3.12" >&2; \
		exit 2; fi; \
	own=$$("$$python" -c 'import sysconfig as s; print(s.get_path("include"), s.get_path("stdlib"), s.get_python_version())'); \
	set -- $$own; \
	$(call need,cc:gcc /usr/include/stdlib.h:libc6-dev $$1/Python.h:python$$3-dev $$2/ensurepip:python$$3-venv); \
	echo "Installing into $(VENV), with $$("$$python" --version): a minute or two, once"; \
	{ [ -x $(VENV)/bin/python ] || "$$python" -m venv $(VENV); } && \
	if [ -z "$(ENGINE_WHEEL)" ]; then $(PIP) --require-hashes --requirement $(LOCK); else \
		sed '/^pjsua2-python==/,/[^\\]$$/d' $(LOCK) >$(VENV)/lock && $(PIP) --require-hashes --requirement $(VENV)/lock && \
		$(PIP) --no-deps --force-reinstall $(ENGINE_WHEEL); fi && \
	$(PIP) --no-deps --editable . && touch $@

# apart: what it needs must not change what is installed
$(VENV)/packaging/bin/cyclonedx-py: $(VENV)/installed
	@$(call need,git:git dpkg-shlibdeps:dpkg-dev patchelf:patchelf strip:binutils); \
	$(VENV)/bin/python -m venv $(VENV)/packaging && $(VENV)/packaging/bin/python -m pip install --quiet --disable-pip-version-check \
		cyclonedx-bom==7.5.0 && touch $@

$(VENV)/tested: $(VENV)/installed # pyworld is built from source
	@$(call need,g++:g++); \
	echo 'Installing what the tests need'; $(PIP) --editable '.[test]' && touch $@
