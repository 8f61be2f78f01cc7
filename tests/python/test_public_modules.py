"""What `import genprior` alone gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import genprior


def alone(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_the_contract_tests_are_there_after_the_import_of_the_package():
    done = alone(
        "import sys, genprior\n"
        "assert 'torch' not in sys.modules and 'genprior.testing' not in sys.modules and 'testing' in dir(genprior)\n"
        "print(genprior.testing.check_prior.__module__, genprior.testing is sys.modules['genprior.testing'])\n"
    )
    assert (done.stdout, done.stderr) == ("genprior.testing.priors True\n", "")


def test_no_other_module_is_loaded_by_its_name():
    done = alone("import genprior\ngenprior.launch")
    # Python may go on with names that are alike.
    assert "\nAttributeError: module 'genprior' has no attribute 'launch'" in done.stderr
    with pytest.raises(AttributeError, match="module 'genprior' has no attribute 'nothing'"):
        genprior.nothing  # noqa: B018
