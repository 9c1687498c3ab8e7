"""What became of every patch: events that are written down once, and everything that is read out of them. Pure.

    events       what can happen to a patch on its way, one frozen value each
    journey      the way of one patch, read out of its events
    stages       where a patch stands, in one word and in one sentence, and who has to act
    telling      one event in one sentence
    board        every patch as a row of the pipeline, what waits for somebody on top
    filters      what the address of a page asks for
    queue        what is to be deployed, in running order, and the outage that it will cost
    decisions    the record of everybody's decisions
    durations    spans of time in words
    selection    which attempts a figure is about: days and lane
    lead_times   from landing to production, in parts that add up
    figures      outages, forecasts, how attempts ended
    tables       attempts as rows, for JSON and CSV
    metrics      the same for Prometheus
    status_document  what a site's 503 page is told
"""
