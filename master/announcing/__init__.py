"""How notices get out: one line of waiting notices per receiver, so that a slow one delays nobody else.

    desk      makes notices of what was heard
    receiver  what a way out must offer, and how a delivery fails
    line      the notices on the way to one receiver: tried again, bounded, counted
    hold      keeps everything back while a database has just been closed
    mail      to a relay, by SMTP
    webhook   to a program, as signed JSON over HTTP
    hook      to a command on this machine
"""
