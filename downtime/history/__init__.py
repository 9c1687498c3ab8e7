"""What became of every patch: events that are written down once, and everything that is read out of them. Pure.

    events       what can happen to a patch on its way, one frozen value each
    journey      the way of one patch, read out of its events
    stages       where a patch stands, in one word and in one sentence, and who has to act
"""
