"""The standard parts of genprior, found by entry point like anyone's: one part a file."""

from genprior_std.parts import genprior_parts
from genprior_std.run_pictures import genprior_run_finished, genprior_run_started, genprior_step_done

__all__ = ["genprior_parts", "genprior_run_finished", "genprior_run_started", "genprior_step_done"]
