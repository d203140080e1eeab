"""What a client is told while an act is under way, if it asked for progress."""

from kros_mcp.operations.progress import Step, Tell
from kros_mcp.tools.call import ToolContext

_SENTENCES = {
    Step.CLAIMED: "The yes is written down; KrosAI is asked once more before anything is sent.",
    Step.REREAD: "KrosAI still shows what was agreed to.",
    Step.SENDING: "Sent to KrosAI; waiting for its answer.",
    Step.DONE: "KrosAI has done it; the result is being read.",
}


def progress(ctx: ToolContext) -> Tell:
    """Make what tells each step to the client; one that did not ask for progress hears nothing."""

    async def tell(step: Step) -> None:
        await ctx.report_progress(step, len(Step), _SENTENCES[step])

    return tell
