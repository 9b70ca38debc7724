# Everything is done in the repository's own virtual environment, .venv, which is set up by whatever needs
# it first and used as it is from then on: a second call works without network.
#
#   make run     start a dev agent in the foreground (Ctrl-C stops it)
#   make test    every test
#   make check   format check, lint, strict types, tests
#   make format  put the code into the form `make check` asks for
#   make clean   remove the virtual environment and all caches

.POSIX:
.SUFFIXES:
.PHONY: run test check format clean

# Any Python from 3.11 up; `make run PYTHON=/path/to/python` chooses one.
PYTHON =
BIN = .venv/bin
PYTEST_ARGS =

run: .venv/rookery
	exec $(BIN)/rookery agent -dev

test: .venv/dev build/types/rookery
	$(BIN)/pytest $(PYTEST_ARGS)

check: .venv/dev build/types/rookery
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p rookery
	$(BIN)/pytest $(PYTEST_ARGS)

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis rookery.egg-info

# The two stamps say what is installed: rookery itself, and what tests and checks need besides. They are
# made again when pyproject.toml changes.
.venv/rookery: pyproject.toml .venv/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/dev: pyproject.toml .venv/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch .venv/rookery $@

.venv/pip:
	@set -e; \
	for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		   && "$$candidate" -m venv --clear .venv 2>/dev/null \
		   && .venv/bin/python -m pip --version >/dev/null 2>&1; then \
			echo "Set up .venv with $$(.venv/bin/python --version)."; touch $@; exit 0; \
		fi; \
	done; \
	echo "rookery needs Python 3.11 or newer with the venv module, and found none." >&2; \
	echo "Install one (on Debian: apt-get install python3 python3-venv), or name it:" >&2; \
	echo "  make run PYTHON=/path/to/python3" >&2; \
	exit 1

# What the type checker reads: the import package `rookery` as a folder, which the three folders of the
# repository's root only become when installed.
build/types/rookery:
	mkdir -p $@
	ln -sfn ../../../agent ../../../gossip ../../../http $@
