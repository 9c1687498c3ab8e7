"""The pages "Deployments": what became of every patch, for people who look; Flask, served by Buildbot.

    source       what the pages read, out of the running master
    application  the routes: each one reads, calls a pure function of `downtime.history`, and fills a template
    timeline     the outage of one deployment, to scale; `wording`: how values are written
    figures      the routes of charts and exports; `charts` and its neighbours draw
    templates/   complete pages of our own, and the fragment that Buildbot shows them in
    static/      styles and the script that decides with the visitor's own session
"""
