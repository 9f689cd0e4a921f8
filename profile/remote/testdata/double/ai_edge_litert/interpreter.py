from double import Interpreter, load_delegate

__all__ = ["Interpreter", "load_delegate"]
