"""What people and programs are told of a deployment, made out of the events of its journey. Pure.

    kinds     what a notice can be about
    notice    one notice: a subject, a text for people, a document for programs
    tidy      texts of unknown origin, made fit for one line of a mail
    about     what every notice about an attempt has
    telling   which notice an event gives, if any
    endings   the same for an attempt that has ended
    due       what is told when some time has come: a downtime is near, a wait is too long
    signing   how a receiver knows that a notice is ours
"""
