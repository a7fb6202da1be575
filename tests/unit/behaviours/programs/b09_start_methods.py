"""9. `set_start_method` twice is a RuntimeError unless forced; an unknown method a ValueError."""

from subject import METHOD, ctx, mp, outcome, say


def main():
    say("none yet:", mp.get_start_method(allow_none=True))
    say("unknown:", outcome(mp.set_start_method, "unknown"), outcome(mp.get_context, "unknown"))
    say(outcome(mp.set_start_method, METHOD), mp.get_start_method())
    say("twice:", outcome(mp.set_start_method, METHOD))
    say("unknown the second time:", outcome(mp.set_start_method, "unknown", force=True))
    say("forced:", outcome(mp.set_start_method, METHOD, force=True), mp.get_start_method())
    say("forced to none:", outcome(mp.set_start_method, None, force=True), mp.get_start_method(allow_none=True))
    say("the default:", mp.get_start_method() in mp.get_all_start_methods())
    say("fixed by the question:", outcome(mp.set_start_method, METHOD))
    say(type(ctx).__name__, ctx.get_start_method(), ctx.get_start_method(allow_none=True))
    say("of a context:", outcome(ctx.set_start_method, METHOD), outcome(ctx.set_start_method, METHOD, force=True))
    say(mp.get_context(METHOD) is ctx, ctx.get_context() is ctx, mp.get_context().get_start_method())
    say(mp.get_all_start_methods()[0], ctx.get_context("fork").get_start_method())


if __name__ == "__main__":
    main()
