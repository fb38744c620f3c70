"""Names by which Python code reaches the process, the interpreter or the tests around it, by kind.

Data only. `harness/constructs.py` finds them in source, `harness/redflags.py` says what they mean.
"""

from __future__ import annotations

TEST_TOOLS = ("pytest", "_pytest", "pluggy", "nose", "unittest.case", "unittest.result", "unittest.runner",
              "unittest.loader", "unittest.suite", "unittest.SkipTest", "unittest.TestCase", "unittest.TestResult",
              "coverage", "sandbox_stream", "results_plugin")  # fmt: skip
DOTTED = {
    "process-exit": ("os._exit", "os.abort", "os.kill", "os.killpg", "os.execl", "os.execle", "os.execlp", "os.execv",
                     "os.execve", "os.execvp", "os.execvpe", "signal.raise_signal", "signal.pthread_kill",
                     "signal.alarm", "signal.setitimer", "signal.signal", "posix", "_signal", "faulthandler"),
    "frame": ("sys._getframe", "sys._current_frames", "sys._getframemodulename", "inspect.stack", "inspect.trace",
              "inspect.currentframe", "inspect.getouterframes", "inspect.getinnerframes", "inspect.getframeinfo",
              "traceback.walk_stack", "traceback.walk_tb", "inspect.getgeneratorlocals", "inspect.getclosurevars"),
    "heap": ("gc.get_objects", "gc.get_referrers", "gc.get_referents", "gc.callbacks", "gc.get_stats", "ctypes",
             "_ctypes", "cffi", "mmap"),
    "import-system": ("sys.meta_path", "sys.path_hooks", "sys.path_importer_cache", "_imp", "_frozen_importlib",
                      "importlib.reload"),
    "trace": ("sys.settrace", "sys.setprofile", "sys.monitoring", "threading.settrace", "threading.setprofile",
              "sys.addaudithook", "bdb"),
    "exit-hook": ("atexit.register", "atexit._run_exitfuncs", "weakref.finalize", "threading._register_atexit"),
    "dynamic-code": ("types.CodeType", "types.FunctionType", "marshal.loads", "code.InteractiveInterpreter",
                     "runpy.run_path", "runpy.run_module", "codeop"),
    "descriptor": ("os.write", "os.fdopen", "os.dup", "os.dup2", "os.pipe", "os.closerange", "os.pwrite", "os.writev",
                   "os.sendfile", "os.splice", "os.memfd_create", "fcntl", "os.open_by_handle", "io.FileIO"),
    "process": ("os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp", "os.spawnl", "os.spawnle", "os.spawnv",
                "os.spawnve", "os.system", "os.popen", "pty", "_posixsubprocess", "subprocess", "multiprocessing",
                "concurrent.futures.ProcessPoolExecutor"),
    "thread": ("threading.Thread", "_thread.start_new_thread", "threading.Timer"),
    "modules": ("sys.modules", "__main__"),
    "arguments": ("sys.argv", "sys.orig_argv"),
}  # fmt: skip
ATTRIBUTES = {
    "frame": ("f_back", "f_locals", "f_globals", "f_code", "f_builtins", "f_trace", "tb_frame", "tb_next", "gi_frame",
              "cr_frame", "ag_frame", "_getframe"),
    "internals": ("__subclasses__", "__globals__", "__code__", "__closure__", "__builtins__", "cell_contents",
                  "__loader__", "co_consts", "co_code"),
    "test-tool": ("from_item_and_call", "pytest_runtest_makereport", "longreprtext", "pluginmanager", "TestReport",
                  "CallInfo", "_pytest"),
}  # fmt: skip
TEXTS = {
    "test-detection": ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_ADDOPTS"),
    "descriptor": ("/proc/", "/dev/fd", "/dev/stdout"),
    "test-files": ("conftest", "sitecustomize", "usercustomize", "pytest.ini", "pytest_plugins"),
}  # fmt: skip
WHOLE_TEXTS = {"test-detection": ("pytest", "_pytest", "py.test", "unittest"), "descriptor": ("/proc",)}


def is_or_in(name: str, listed: tuple[str, ...]) -> bool:
    """Return whether a dotted name is one of those listed, or inside of one."""
    return any(name == entry or name.startswith(entry + ".") for entry in listed)
