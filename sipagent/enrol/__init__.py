"""Colleagues lend their voices by telephone: `sipagent enrol`.

flow        what an enrolment is: facts in, commands out; pure
script      what is said and asked, by language, and in which files
saying      whether what was said can be kept: level, noise, clipping, cut off; pure
ear         hears one saying: from the tone to the quiet after it
keeping     what is kept of a person: written whole, replaced, forgotten, expired
network     who may call, and the Kamailio in front
driver      carries the commands out on an engine
"""
