"""Colleagues lend their voices by telephone: `sipagent enrol`.

flow        what an enrolment is: facts in, commands out; pure
saying      hears one saying, from the tone to the quiet after it, and judges whether it can be kept
keeping     what is kept of a person: written whole, replaced, forgotten, expired
driver      what is said and asked, by language, and in which files; who may call, and the Kamailio in front;
            carries the commands out on an engine
"""
