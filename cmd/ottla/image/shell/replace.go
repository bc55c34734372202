//go:build linux

package main

import "mvdan.cc/sh/v3/syntax"

// replaceable finds the commands of a script that may replace the shell's process: those of `exec`, and the last one. It gives each one's place and, where it is
// written out, its first word. Nothing is replaceable where the shell has to be there afterwards: a trap is set, or something runs in the background, which may
// be a part of the script, and lives in the shell's own process.
func replaceable(file *syntax.File) map[syntax.Pos]string {
	stays := false
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			stays = stays || n.Background || n.Coprocess
		case *syntax.CallExpr:
			stays = stays || len(n.Args) > 0 && n.Args[0].Lit() == "trap"
		case *syntax.ProcSubst:
			stays = true // its other end is in the shell
		}
		return true
	})
	found := map[syntax.Pos]string{}
	if stays {
		return found
	}
	for i, st := range file.Stmts {
		collect(st, i == len(file.Stmts)-1, found)
	}
	return found
}

// collect adds what is replaceable in a statement that runs in the shell itself; last says that nothing comes after it.
func collect(st *syntax.Stmt, last bool, found map[syntax.Pos]string) {
	if st == nil || st.Background || st.Coprocess || st.Negated {
		return
	}
	all := func(list []*syntax.Stmt, last bool) {
		for i, inner := range list {
			collect(inner, last && i == len(list)-1, found)
		}
	}
	plain := len(st.Redirs) == 0 // what stands around a command restores the shell's own files after it
	switch c := st.Cmd.(type) {
	case *syntax.CallExpr:
		switch {
		case len(c.Args) > 1 && c.Args[0].Lit() == "exec":
			found[c.Pos()] = c.Args[1].Lit()
		case last && len(c.Args) > 0:
			found[c.Pos()] = c.Args[0].Lit()
		}
	case *syntax.Block:
		all(c.Stmts, last && plain)
	case *syntax.IfClause:
		for branch := c; branch != nil; branch = branch.Else {
			all(branch.Then, last && plain)
		}
	case *syntax.WhileClause:
		all(c.Do, false)
	case *syntax.ForClause:
		all(c.Do, false)
	case *syntax.CaseClause:
		for _, item := range c.Items {
			all(item.Stmts, last && plain)
		}
	case *syntax.BinaryCmd:
		if c.Op == syntax.AndStmt || c.Op == syntax.OrStmt {
			collect(c.X, false, found)
			collect(c.Y, last && plain, found)
		}
	}
}
