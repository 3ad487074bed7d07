"""The guard in the path of requests: reads what comes in and what goes out, and holds what was not checked.

    asked      -> the one mapping from a request, in any dialect, to the text that its model reads
    verdict    -> the grammar of the guard's answers
    judge      -> asks the guard, with a deadline: safe, unsafe, or not classified
    windows    -> when a growing answer is checked
    answer     -> the growing answer of one call of the engine, and what is sent in place of one that is stopped
    screening  -> one request: its input check, and its answers, held until they are checked
    engine     -> the layer around the engine's `generate`
    endings    -> how each dialect says that an answer was stopped, annotated, or could not be checked
    middleware -> the layer in front of vLLM's application

Answers are checked where the engine makes them, not where dialects write them: whatever form an answer gets (content, reasoning,
arguments of tools, one of several choices), its text went through here. Nothing in this folder imports Ray or vLLM.
"""
